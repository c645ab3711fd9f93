"""Error messages for users: one sentence with file, field, value found and what to do.

Kedro wraps the errors of nodes and datasets, so the whole chain of causes is searched. An unknown error is a defect of
this project and keeps its traceback.
"""

import difflib
import errno
import re
from pathlib import Path

from sg_pipeline.config.kedro_internals import render_failure
from sg_pipeline.config.loader import ENVIRONMENTS, METHODS
from sg_pipeline.errors import GO_ON, SgPipelineError, chain_of
from sg_pipeline.files import ABOUT

_FULL = (errno.ENOSPC, errno.EDQUOT)
_FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)
_AT_FAULT = {
    errno.ENOTDIR: "a part of its path is a file, not a folder",
    errno.EEXIST: "a part of its path is a file, not a folder",
    errno.EISDIR: "it is a folder, not a file",
    errno.ENAMETOOLONG: "its name is too long",
    errno.ELOOP: "its symbolic links are circular",
    errno.EIO: "the disk reports an error",
    errno.ESTALE: "the network file system has lost it",
    errno.EMFILE: "this process has too many open files (see `ulimit -n`)",
    errno.ENFILE: "the system has too many open files",
}
"""Other errors that a user can fix."""
# Libraries written in Rust (safetensors, polars) raise other errors that quote the operating system's.
_QUOTED = re.compile(r"\(os error (\d+)\)")


def explain(error: BaseException, conf: Path, env: str | None = None) -> str | None:
    """Return a sentence that explains `error` and how to fix it; None if it is a defect of this project.

    Args:
        error: the error that ended the command.
        conf: the project's configuration folder, to find an unreadable file.
        env: the configuration environment on top of `base`.
    """
    chain = list(chain_of(error))
    for link in chain:
        if isinstance(link, SgPipelineError):
            return str(link)
        if sentence := _of_the_system(link, chain):
            return sentence
    return (
        _of_the_ranks(chain)
        or _of_a_table(chain)
        or _of_the_configuration(chain, conf, env or "base")
        or _of_kedro(chain)
    )


def _of_the_system(error: BaseException, chain: list[BaseException]) -> str | None:
    """Explain a full disk, a missing permission or an unusable path, which may occur anywhere."""
    quoted = _QUOTED.search(str(error))
    code = error.errno if isinstance(error, OSError) and error.errno else int(quoted[1]) if quoted else None
    if code in _FULL:
        where = _file(chain)
        return (
            f"no space left on disk{f' while writing {where}' if where else ''}; free some space, then {GO_ON}: "
            f"finished outputs are kept"
        )
    if code in _FORBIDDEN:
        reason = "the disk is read-only" if code == errno.EROFS else "permission is denied"
        return f"cannot use {_file(chain) or 'a file'}: {reason}; make it accessible, then {GO_ON}"
    if code in _AT_FAULT and _file(chain):
        return f"cannot use {_file(chain)}: {_AT_FAULT[code]}; fix that, then {GO_ON}"
    return None


def _file(chain: list[BaseException]) -> str | None:
    """Return the file that the errors are about: the target file, not the temporary one."""
    notes = [note for link in chain for note in getattr(link, "__notes__", ())]
    named = [note.removeprefix(ABOUT) for note in notes if note.startswith(ABOUT)]
    opened = [str(link.filename) for link in chain if isinstance(link, OSError) and link.filename]
    return next(iter([*named, *opened]), None)


def _of_the_ranks(chain: list[BaseException]) -> str | None:
    """Explain that another process of the run is gone, which fails any exchange between processes."""
    from sg_pipeline.distributed.failures import is_lost, lost
    from sg_pipeline.distributed.world import world

    return lost(world()) if not world().alone and any(is_lost(link) for link in chain) else None


def _of_a_table(chain: list[BaseException]) -> str | None:
    """Explain a file whose table violates its schema in the catalog; on saving, that is a defect of this project."""
    from kedro.validation.exceptions import DataValidationError

    for link in chain:
        if isinstance(link, DataValidationError) and link.mode == "load":
            schema = str(link.validator).rpartition(".")[2]
            failures = [render_failure(failure) for failure in link.failures[:3]]
            return (
                f"{_file(chain) or link.dataset_name} does not satisfy the schema {schema} ({'; '.join(failures)}); "
                f"delete it and {GO_ON}"
            )
    return None


def _of_the_configuration(chain: list[BaseException], conf: Path, env: str) -> str | None:
    """Explain configuration that cannot be read."""
    from omegaconf.errors import OmegaConfBaseException

    if not (conf / env).is_dir() and any(_module(link).startswith("kedro.config") for link in chain):
        others = {METHODS, ENVIRONMENTS, "accelerate"}  # folders that are not environments
        known = sorted(path.name for path in conf.glob("[!.]*") if path.is_dir() and path.name not in others)
        nearest = difflib.get_close_matches(env, known, n=1, cutoff=0.0)
        hint = f"; did you mean {nearest[0]}? Available: {', '.join(known)}" if nearest else ""
        return f"configuration folder {conf / env} does not exist{hint}"
    unreadable = _unreadable_file([conf / "base", conf / env])
    for link in chain:
        if isinstance(link, OmegaConfBaseException):
            if unreadable:
                return unreadable
            place = f"configuration value {link.full_key}" if link.full_key else "a configuration value"
            return f"{place} cannot be resolved: {str(link).splitlines()[0]}"
    if any(_module(link).startswith(("kedro.config", "yaml", "omegaconf", "codecs")) for link in chain):
        return unreadable
    return None


def _unreadable_file(folders: list[Path]) -> str | None:
    """Describe the first configuration file that is not a YAML mapping."""
    from omegaconf import DictConfig, OmegaConf
    from yaml import MarkedYAMLError

    for path in (path for folder in folders for path in sorted(folder.rglob("*.yml"))):
        try:
            content = OmegaConf.load(path)
        except MarkedYAMLError as error:
            line = f", line {error.problem_mark.line + 1}," if error.problem_mark else ""
            return f"{path}{line} is not valid YAML: {error.problem or error.context}; fix it and run again"
        except UnicodeDecodeError:
            return f"{path} is not UTF-8 text; save it in UTF-8 and run again"
        if not isinstance(content, DictConfig):
            return f"{path} must contain a mapping of names to values, but it contains a list"
    return None


def _of_kedro(chain: list[BaseException]) -> str | None:
    """Return Kedro's own message, such as an unknown node, if no code of this project failed."""
    message = " ".join(str(chain[0]).split())
    of_an_entry = "must only contain arguments valid for the constructor" in message
    if not of_an_entry and not all(_module(link).partition(".")[0] in ("kedro", "importlib") for link in chain):
        return None
    unknown = re.match(r"Failed to find the pipeline named '(.*?)'", message)
    if not unknown:
        return message.rstrip(".")
    from kedro.framework.project import pipelines

    known = sorted(name for name in pipelines if name != "__default__")
    (nearest,) = difflib.get_close_matches(unknown[1], known, n=1, cutoff=0.0)
    return f"pipeline '{unknown[1]}' does not exist; did you mean {nearest}? Available: {', '.join(known)}"


def _module(error: BaseException) -> str:
    """Return the name of the module whose code raised `error`."""
    trace = error.__traceback__
    if trace is None:
        return ""
    while trace.tb_next is not None:
        trace = trace.tb_next
    return str(trace.tb_frame.f_globals.get("__name__", ""))
