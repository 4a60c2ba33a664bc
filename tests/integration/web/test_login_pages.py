"""Log-in and log-out through the forms."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from dagengine.web import login
from tests.integration.web.test_templates import make_empty
from tests.support.page_controller import PASSWORD, PageController


async def check_login_page(controller: PageController) -> None:
    """Check the page after a refused attempt."""
    controller.agent_password = "agent's own"
    response = await controller.log_in(secret="wrong", next="/ui/locks")
    for expected in (
        f"Log in to {controller.cluster.name}",
        "the password of root@sys",
        "the agent password",
        "an API token",
        "OceanBase password is incorrect",
    ):
        assert expected in response.words
    assert 'name="next" value="/ui/locks"' in response.text


async def test_login_page_offers_entries_and_names_problem(controller: PageController) -> None:
    await check_login_page(controller)


async def test_login_page_with_empty_view_model_fails(
    controller: PageController, monkeypatch: pytest.MonkeyPatch
) -> None:
    view_login = login.view_login

    def empty(*arguments: Any, **options: Any) -> login.LoginModel:
        model = view_login(*arguments, **options)
        emptied: login.LoginModel = make_empty(model)
        return dataclasses.replace(emptied, csrf=model.csrf)  # so that the form is not refused

    monkeypatch.setattr(login, "view_login", empty)
    with pytest.raises(AssertionError):
        await check_login_page(controller)


async def test_login_opens_the_requested_page(controller: PageController) -> None:
    controller.session.cookie_jar.clear()
    response = await controller.log_in(next="/ui/audit?caller=x")
    assert (response.status, response.headers["Location"]) == (303, "/ui/audit?caller=x")
    assert (await controller.get("/audit")).status == 200


async def test_login_never_redirects_elsewhere(controller: PageController) -> None:
    response = await controller.log_in(next="//evil.example/ui/")
    assert response.headers["Location"] == "/ui/"


async def test_login_page_has_own_target_only(controller: PageController) -> None:
    response = await controller.get("/login?next=//evil.example/ui/")
    assert 'name="next" value="/ui/"' in response.text


async def test_login_with_wrong_password_shows_error(controller: PageController) -> None:
    controller.session.cookie_jar.clear()
    response = await controller.log_in(secret="wrong")
    assert response.status == 401
    assert 'role="alert"' in response.text
    assert "wrong" not in response.text
    assert (await controller.get("/tasks")).status == 303


async def test_login_form_keeps_target_after_error(controller: PageController) -> None:
    response = await controller.log_in(secret="wrong", next="/ui/locks")
    assert 'name="next" value="/ui/locks"' in response.text


async def test_empty_login_form_is_refused(controller: PageController) -> None:
    controller.session.cookie_jar.clear()
    response = await controller.log_in(secret="")
    assert response.status == 400
    assert (await controller.get("/tasks")).status == 303


async def test_logout_ends_the_session(controller: PageController) -> None:
    response = await controller.post("/logout")
    assert (response.status, response.headers["Location"]) == (303, "/ui/login")
    assert (await controller.get("/tasks")).status == 303


async def test_logout_by_get_does_nothing(controller: PageController) -> None:
    assert (await controller.get("/logout")).status == 404
    assert (await controller.get("/tasks")).status == 200


async def test_logout_without_token_does_nothing(controller: PageController) -> None:
    controller.csrf = "other"
    assert (await controller.post("/logout")).status == 403
    assert (await controller.get("/tasks")).status == 200


async def test_form_without_token_is_refused(controller: PageController) -> None:
    dag_id = await controller.run()
    controller.csrf = "other"
    response = await controller.post(f"/task/{dag_id}", action="pass", reason="x")
    assert response.status == 403
    assert "text/html" in response.headers["Content-Type"]


async def test_form_after_session_ended_asks_for_login(controller: PageController) -> None:
    dag_id = await controller.run()
    controller.session.cookie_jar.clear()
    response = await controller.post(f"/task/{dag_id}", action="pass", reason="x")
    assert response.status == 401
    assert 'href="/ui/login"' in response.text


async def test_pages_without_root_password_are_read_only(controller: PageController) -> None:
    controller.broken = {"127.0.0.1:2887"}
    dag_id = await controller.run()
    controller.password = ""
    controller.session.cookie_jar.clear()
    response = await controller.get(f"/task/{dag_id}")
    assert response.status == 200
    assert "You can see everything here, and change nothing" in response.words
    assert "root@sys has no password: set one" in response.words
    assert response.text.count("<button disabled") == 5
    assert 'href="/ui/login"' in response.text
    login = await controller.get("/login")
    assert "root@sys has no password: set one" in login.words
    controller.csrf = controller.token_in(login)
    refused = await controller.post(f"/task/{dag_id}", action="pass", reason="x")
    assert refused.status == 401


async def test_login_page_has_security_headers(controller: PageController) -> None:
    response = await controller.get("/login")
    assert response.headers["Cache-Control"] == "no-store"
    assert "frame-ancestors 'none'" in response.headers["Content-Security-Policy"]
    assert PASSWORD not in response.text
