"""Log-in and log-out, and the authentication of requests for pages."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from aiohttp import web
from jinja2 import Environment

from dagengine.api.app import OWN_TABLES
from dagengine.api.auth import BODY, Authenticator
from dagengine.api.caller import Caller
from dagengine.api.login.schemes import AUTHENTICATOR, SESSIONS
from dagengine.api.middleware import FAILURE_PAGE, FailurePage
from dagengine.api.sessions import PAGE_SESSION, LoginForm, Sessions
from dagengine.errors import DagengineError, SecurityError
from dagengine.model.credentials import SessionEntry
from dagengine.security.errors import TooManyFailures
from dagengine.security.page_errors import LoginRequired
from dagengine.translation import Tables, Translator
from dagengine.web import messages
from dagengine.web.forms import parse_form
from dagengine.web.messages_zh import TEMPLATES as CHINESE
from dagengine.web.rendering import html_response
from dagengine.web.static_files import StaticFiles
from dagengine.web.texts import CatalogueTexts, Texts, render_language

LOGIN_PATH = "/ui/login"
_START = "/ui/"
_WEB_TABLES: Tables = {"zh": CHINESE}


@dataclass(frozen=True, slots=True)
class Visit:
    """An authenticated request for a page.

    Attributes:
        caller: the caller.
        csrf: the token of forms; empty for a visitor without a session, who cannot send forms.
        body: the body of the request, whose origin and token were checked.
    """

    caller: Caller
    csrf: str
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class EntryChoice:
    """One way to log in."""

    value: str
    text: str


@dataclass(frozen=True, slots=True)
class LoginModel:
    """The view model of the log-in page.

    Attributes:
        title: title with the name of the cluster.
        csrf: the token of the forms.
        target: path of the page to open after the log-in.
        secrets: the ways that need a password or token.
        direct: the ways that need nothing else, such as the unix socket.
        problem: why the last attempt was refused; empty before the first one.
        hint: what to do first, such as to set a password; may be empty.
    """

    title: str
    csrf: str
    target: str
    secrets: tuple[EntryChoice, ...]
    direct: tuple[EntryChoice, ...]
    problem: str
    hint: str


def view_login(
    form: LoginForm, *, cluster: str, target: str, problem: str, texts: Texts
) -> LoginModel:
    """Return the view model of the log-in page."""
    secret_names = {
        SessionEntry.ROOT_PASSWORD: messages.ROOT_PASSWORD,
        SessionEntry.AGENT_PASSWORD: messages.AGENT_PASSWORD,
        SessionEntry.TOKEN: messages.API_TOKEN,
    }
    direct_names = {
        SessionEntry.LOCAL_USER: messages.AS_CALLER(name=form.local_name),
        SessionEntry.CERTIFICATE: messages.AS_CALLER(name=form.certificate_name),
    }
    hint = "" if form.has_root_password else texts(messages.ROOT_WITHOUT_PASSWORD())
    return LoginModel(
        title=texts(messages.LOG_IN_TO(cluster=cluster)),
        csrf=form.csrf,
        target=target,
        secrets=tuple(
            EntryChoice(entry, texts(name()))
            for entry, name in secret_names.items()
            if entry in form.entries
        ),
        direct=tuple(
            EntryChoice(entry, texts(name))
            for entry, name in direct_names.items()
            if entry in form.entries
        ),
        problem=problem,
        hint=hint,
    )


def choose_target(text: str) -> str:
    """Return the page to open after the log-in: only a path of this application's pages."""
    is_own = text.startswith(_START) and not text.startswith("/ui/log")
    is_plain = text.isascii() and text.isprintable() and "\\" not in text and "//" not in text
    return text if is_own and is_plain else _START


@dataclass(frozen=True, slots=True)
class LoginPages:
    """Authenticates requests, and serves the pages that need no session.

    Attributes:
        app: the application, with its schemes.
        cluster: name of the cluster.
        environment: renders templates.
        translator: chooses the language.
        files: the static files.
    """

    app: web.Application
    cluster: str
    environment: Environment
    translator: Translator
    files: StaticFiles

    @classmethod
    def create(
        cls,
        app: web.Application,
        cluster: str,
        environment: Environment,
        translations: tuple[Tables, ...],
    ) -> LoginPages:
        """Return the pages of an application; `translations` are those of extensions."""
        translator = Translator((OWN_TABLES, _WEB_TABLES, *translations))
        return cls(app, cluster, environment, translator, StaticFiles())

    @property
    def sessions(self) -> Sessions:
        """The sessions of the application."""
        return self.app[SESSIONS]

    def begin(self, request: web.Request) -> Texts:
        """Choose the language of a request, and have its errors rendered as pages."""
        accepted = ",".join(request.headers.getall("Accept-Language", ()))
        texts = Texts(self.translator, self.translator.choose_language(accepted))
        request[FAILURE_PAGE] = FailurePage(partial(self.render_error, texts))
        return texts

    async def enter(self, request: web.Request) -> Visit:
        """Authenticate a request for a page, and check origin and token of a form.

        Raises:
            LoginRequired: the request has no valid session.
            DagengineError: pages are not served to this address, or the form is not an own one.
        """
        authenticator: Authenticator = self.app[AUTHENTICATOR]
        caller = await authenticator.authenticate(request)
        return Visit(caller, request[PAGE_SESSION].csrf, request[BODY])

    async def is_valid(self, request: web.Request) -> bool:
        """Return whether the session of an earlier request is still valid."""
        try:
            await self.sessions.recheck(request)
        except DagengineError:
            return False
        return True

    async def show_login(self, request: web.Request) -> web.Response:
        """Show the log-in page."""
        texts = self.begin(request)
        return self._render(request, request.query.get("next", ""), texts)

    async def log_in(self, request: web.Request) -> web.Response:
        """Begin a session, or show the log-in page with the error."""
        texts = self.begin(request)
        try:
            cookie = await self.sessions.log_in(request)
        except (SecurityError, TooManyFailures) as exc:
            target = await self._read_target(request)
            return self._render(request, target, texts, exc)
        response = web.Response(status=303, headers={"Location": await self._read_target(request)})
        cookie.put(response)
        return response

    async def log_out(self, request: web.Request) -> web.Response:
        """End the session."""
        self.begin(request)
        await self.enter(request)
        cookie = await self.sessions.log_out(request)
        response = web.Response(status=303, headers={"Location": LOGIN_PATH})
        cookie.put(response)
        return response

    def render_error(self, texts: Texts, error: DagengineError) -> web.Response:
        """Return the page of an error, without data of the cluster."""
        html = self.environment.get_template("error.html").render(
            language=render_language(texts.language),
            ui=CatalogueTexts(messages, texts),
            assets=self.files.paths,
            text=texts.describe(error),
            status=str(error.http_status),
            login_path=LOGIN_PATH if isinstance(error, LoginRequired) else "",
        )
        return html_response(html, error.http_status)

    async def _read_target(self, request: web.Request) -> str:
        return choose_target(parse_form(await request.read()).get("next", ""))

    def _render(
        self,
        request: web.Request,
        target: str,
        texts: Texts,
        error: DagengineError | None = None,
    ) -> web.Response:
        form = self.sessions.open_login(request)
        model = view_login(
            form,
            cluster=self.cluster,
            target=choose_target(target),
            problem="" if error is None else texts.describe(error),
            texts=texts,
        )
        html = self.environment.get_template("login.html").render(
            language=render_language(texts.language),
            ui=CatalogueTexts(messages, texts),
            assets=self.files.paths,
            model=model,
        )
        response = html_response(html, 200 if error is None else error.http_status)
        if isinstance(error, TooManyFailures):
            response.headers["Retry-After"] = str(error.retry_after_s)
        if form.cookie is not None:
            form.cookie.put(response)
        return response
