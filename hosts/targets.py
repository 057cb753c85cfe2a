"""Finding the callable that a `target: package.module:callable` names."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import pkgutil
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from runtime.config.problems import nearest
from runtime.errors import Kind, PerdureError

#: How many of the names that do exist an error lists.
_LISTED = 12


def resolve(entry_id: str, target: str, folder: Path) -> Callable[..., Any]:
    """Import the module of `target` and give what it names, which may be dotted (`Class.method`).

    Args:
        entry_id: for the error messages.
        target: ``package.module:callable``.
        folder: the application's folder, where an error looks for what was meant.

    Raises PerdureError INVALID when there is no such module or attribute, when the attribute
    cannot be called, or when importing the module raises (then with its traceback in `trace`).
    """
    module_name, _, attribute = target.partition(":")
    if not module_name or not attribute:
        raise _invalid(entry_id, target, "is not of the form package.module:callable")
    module = _import(entry_id, target, module_name, folder)
    found: Any = module
    for name in attribute.split("."):
        if not hasattr(found, name):
            owner = getattr(found, "__name__", type(found).__name__)
            hint = _hint(name, _callables(found))
            raise _invalid(entry_id, target, f'names nothing: {owner} has no "{name}"; {hint}')
        found = getattr(found, name)
    if not callable(found):
        raise _invalid(
            entry_id, target, f"is of type {type(found).__name__}: name a function instead"
        )
    callable_: Callable[..., Any] = found
    return callable_


#: Where a module of an application keeps the digest of the file that it was imported from.
_DIGEST = "__perdure_digest__"


def _current(name: str, folder: Path) -> ModuleType:
    """The module, imported again when it is the application's and its file has changed.

    The old module lives on in what runs of it; modules that import it keep it as well.
    """
    old = sys.modules.get(name)
    module = old or importlib.import_module(name)
    file = Path(getattr(module, "__file__", None) or "")
    if folder.resolve() not in file.resolve().parents or not file.is_file():
        return module
    digest = _digest(file)
    if old is None or vars(module).setdefault(_DIGEST, digest) == digest:
        vars(module)[_DIGEST] = digest
        return module
    # Bytecode goes by a time stamp in seconds, which the new file may share with the old one.
    Path(importlib.util.cache_from_source(str(file))).unlink(missing_ok=True)
    importlib.invalidate_caches()
    del sys.modules[name]
    try:
        module = importlib.import_module(name)
    except BaseException:
        sys.modules[name] = old
        raise
    vars(module)[_DIGEST] = digest
    return module


@contextmanager
def unless_refused(folder: Path) -> Iterator[None]:
    """What the block imports of the modules in an application's folder stays, unless it raises.

    What a module did outside of itself when it was imported cannot be undone.
    """
    before = _modules_in(folder)
    try:
        yield
    except BaseException:
        for name in _modules_in(folder).keys() - before.keys():
            _put(name, None)
        for name, module in before.items():
            _put(name, module)
        raise


def _modules_in(folder: Path) -> dict[str, ModuleType]:
    root = folder.resolve()
    found = {}
    for name, module in list(sys.modules.items()):
        file = Path(getattr(module, "__file__", None) or "/").resolve()
        if root in file.parents and "site-packages" not in file.parts:
            found[name] = module
    return found


def _put(name: str, module: ModuleType | None) -> None:
    """Have a module, or none, under a name, and in its package."""
    package, _, own = name.rpartition(".")
    parent = sys.modules.get(package)
    if module is None:
        sys.modules.pop(name, None)
        if parent is not None:
            vars(parent).pop(own, None)
    else:
        sys.modules[name] = module
        if parent is not None:
            vars(parent)[own] = module


def _digest(file: Path) -> bytes:
    return hashlib.sha256(file.read_bytes()).digest()


def _import(entry_id: str, target: str, name: str, folder: Path) -> ModuleType:
    try:
        module = _current(name, folder)
        if hidden := _hidden(module, name, folder):
            raise _invalid(entry_id, target, hidden)
        return module
    except PerdureError:
        raise
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise _import_raised(entry_id, target, error) from error
        parent, _, missing = error.name.rpartition(".")
        where = folder.joinpath(*parent.split("."))
        hint = _hint(missing, (each.name for each in pkgutil.iter_modules([str(where)])))
        what = f'names no module: there is no "{missing}" in {where} nor among what is installed'
        raise _invalid(entry_id, target, f"{what}; {hint}") from None
    except (Exception, SystemExit) as error:
        raise _import_raised(entry_id, target, error) from error


def _hidden(module: ModuleType, name: str, folder: Path) -> str:
    """What is wrong when the application has a module of this name, and another one was found."""
    file = getattr(module, "__file__", None)
    own = folder.joinpath(*name.split("."))
    there = own.with_suffix(".py").exists() or (own / "__init__.py").exists()
    if not there or (file is not None and folder.resolve() in Path(file).resolve().parents):
        return ""
    return (
        f"is hidden: {file or 'a built-in module'} has the same name as the application's own "
        f"{name}; rename that of the application"
    )


def _import_raised(entry_id: str, target: str, error: BaseException) -> PerdureError:
    text = f"cannot be imported: {type(error).__name__}: {error}"
    return _invalid(entry_id, target, text, "".join(traceback.format_exception(error)))


def _invalid(entry_id: str, target: str, what: str, trace: str = "") -> PerdureError:
    return PerdureError(Kind.INVALID, f'{entry_id}: target "{target}" {what}', trace=trace)


def _callables(owner: Any) -> Iterable[str]:
    names = (name for name in dir(owner) if not name.startswith("_"))
    return (name for name in names if callable(getattr(owner, name, None)))


def _hint(name: str, existing: Iterable[str]) -> str:
    names = sorted(existing)
    if near := nearest(name, names):
        return f'did you mean "{near}"?'
    if not names:
        return "there is nothing there to name"
    more = ", ..." if len(names) > _LISTED else ""
    return f"there is {', '.join(names[:_LISTED])}{more}"
