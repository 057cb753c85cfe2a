"""Text that UTF-8 cannot hold, modules that hide each other, calls to a node that is gone."""

from __future__ import annotations

from pathlib import Path

import pytest

from runtime.config.problems import ConfigurationError
from runtime.errors import Kind, PerdureError
from supervision import Node
from tests.cli_lab import perdure

APP = """
version: "1.0"
namespace: app
entries:
  - {name: journal, kind: journal.lmdb, path: ./data}
  - {name: host, kind: workflow.host, journal: journal}
  - {name: odd, kind: function.python, target: "%(module)s:odd"}
  - {name: bytes, kind: function.lua, source: 'error("\\xff!", 0)'}
  - name: wait
    kind: workflow.lua
    source: process.inbox():receive()
  - name: call
    kind: workflow.lua
    modules: [funcs]
    source: |
      local _, err = require("funcs").call("app:odd")
      return err:message()
"""
ODD = "def odd():\n    raise ValueError('bad \\udcff thing')\n"


def make_app(folder: Path, module: str) -> Path:
    folder.mkdir()
    (folder / "app.yaml").write_text(APP % {"module": module}, encoding="utf-8")
    (folder / f"{module}.py").write_text(ODD, encoding="utf-8")
    return folder


def test_an_error_whose_text_is_no_utf8_reaches_its_caller(tmp_path: Path) -> None:
    with Node.from_path(make_app(tmp_path / "a", "odd_module")) as node:
        with pytest.raises(PerdureError) as error:
            node.call("app:odd", timeout=20)
        assert error.value == PerdureError(Kind.INTERNAL, "ValueError: bad \\udcff thing")
        assert node.result(node.spawn("app:call", "app:host"), 20) == error.value.message
        with pytest.raises(PerdureError) as error:
            node.call("app:bytes", timeout=20)
        assert error.value.message == "\\xff!"
        with pytest.raises(PerdureError, match="is not valid text"):
            node.spawn("app:wait", "app:host", options={"workflow.id": "\udcff"})


def test_a_stopped_node_says_so(tmp_path: Path) -> None:
    node = Node.from_path(make_app(tmp_path / "a", "odd_module"))
    node.start()
    node.stop()
    with pytest.raises(PerdureError, match="the node was stopped"):
        node.call("app:odd")


def test_a_module_hidden_by_that_of_another_application_is_refused(tmp_path: Path) -> None:
    first, second = (make_app(tmp_path / name, "same_module") for name in "ab")
    with Node.from_path(first), pytest.raises(ConfigurationError) as error:
        Node.from_path(second)
    assert "is hidden" in str(error.value)
    assert str(first / "same_module.py") in str(error.value)
    assert not (second / ".perdure").exists(), "a refused node leaves nothing behind"
    with Node.from_path(second) as node, pytest.raises(PerdureError, match="bad"):
        node.call("app:odd", timeout=20)


def test_a_module_hidden_by_an_installed_one_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="rename that of the application"):
        Node.from_path(make_app(tmp_path / "a", "json"))


def test_two_journals_in_one_folder_are_refused(tmp_path: Path) -> None:
    app = make_app(tmp_path / "a", "odd_module")
    more = "  - {name: other, kind: journal.lmdb, path: ./x/../data}\n"
    (app / "app.yaml").write_text(APP % {"module": "odd_module"} + more, encoding="utf-8")
    with pytest.raises(ConfigurationError, match="path is that of app:journal"):
        Node.from_path(app)
    assert not (app / "data").exists()


def test_journal_verify_tells_a_sound_journal_from_none(tmp_path: Path) -> None:
    app = make_app(tmp_path / "a", "odd_module")
    with Node.from_path(app) as node:
        node.spawn("app:wait", "app:host")
        sound = perdure("journal", "verify", str(app / "data"))
    assert (sound.returncode, sound.stdout) == (0, f"{app / 'data'}: sound\n")
    none = perdure("journal", "verify", str(tmp_path / "nothing"))
    assert none.returncode == 2
    assert "nothing" in none.stderr
    assert "Traceback" not in none.stderr
