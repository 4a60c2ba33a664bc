"""Hosts receive the text of the script files, and nothing else."""

from __future__ import annotations

import hashlib
from importlib import resources

import pytest

from tasks.commands import ask_alive, ask_process, ask_quiet, read_trouble, stop_server
from tasks.flavour import OCEANBASE, SEEKDB
from tasks.scripts import read_script
from tasks.traces import ask_traces

# SHA-256 of each script as it was when it was a Python string (commit d8f0381).
DIGESTS = {
    "inspect seekdb": "f6dcf8bcbae5ca8193f6da8b5cad517ce4a1f1ce77f050934d1101aafa26d730",
    "inspect oceanbase": "cdf997170901aca06cbb5b36dd6f555b13f395db1eb51a9881319346a8d88544",
    "process seekdb": "af3f11f98564c80a7cd650a0942dbdafb5fc1cd7fb3c69c0eff2020244969ddb",
    "process oceanbase": "811260113ea6ceac98b9950e9107a59303accdd82f89a7656e5ed2be4a3e0f19",
    "start seekdb": "ccfb7186f2ba62a2ccae498f28bbd681d11b2f65162a86c0d34a73404f0b2b06",
    "start oceanbase": "867e65285116577d9b529f439904db51d793904c8f6e7e0bd9ed84788f22f8dd",
    "stop seekdb": "815a0efeb626d251e0076fc732eb2000d4a9e8063560529e82ce07e2b3705765",
    "stop oceanbase": "4b4f11c6753aa425fe950832ec276fad37abbbb857d7a6b2a5f706c49de5cbbf",
    "wait_for_lock": "46aa5a71f00bdca0447638e40080937a92f94342498a1df05fb7f511cdc34c0c",
    "probe": "711868dc2f600b6ec00c51dadb8249568e9c74b04990e4020296b4953d18fc0c",
    "error_lines": "adc302b5d622975599e6e14f4bc9168fbf30fc6994b9b9868d516617ca5807c9",
    "postmortem": "39f4d5fb97365dfd3bca067d797b745f4841501df8d38a8ab30779850e613ba4",
}
COMMANDS = {
    "process seekdb": ask_process(SEEKDB, "/home"),
    "process oceanbase": ask_process(OCEANBASE, "/home"),
    "stop seekdb": stop_server(SEEKDB, "/home", 1.0),
    "stop oceanbase": stop_server(OCEANBASE, "/home", 1.0),
    "wait_for_lock": ask_quiet("/home"),
    "probe": ask_alive(1, 2, 3),
    "error_lines": read_trouble("/log", 0),
    "postmortem": ask_traces("/home", "/log", 0, 1, 2),
}


def test_scripts_moved_to_files_keep_their_text() -> None:
    texts = {name: read_script(name) for name in DIGESTS if " " not in name}
    for flavour in (SEEKDB, OCEANBASE):
        for name in ("inspect", "process", "start", "stop"):
            texts[f"{name} {flavour.name}"] = read_script(flavour.is_server) + read_script(name)
    assert {
        name: hashlib.sha256(text.encode()).hexdigest() for name, text in texts.items()
    } == DIGESTS


@pytest.mark.parametrize("name", COMMANDS)
def test_command_sends_the_text_of_its_script_file(name: str) -> None:
    text = COMMANDS[name].argv[2]
    assert isinstance(text, str)
    assert hashlib.sha256(text.encode()).hexdigest() == DIGESTS[name]


def test_every_script_file_is_read_without_an_open_include() -> None:
    files = [file.name for file in resources.files("tasks.scripts").iterdir()]
    scripts = [name.removesuffix(".sh") for name in files if name.endswith(".sh")]
    assert len(scripts) > 10
    assert [name for name in scripts if ". ./" in read_script(name)] == []
