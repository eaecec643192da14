"""docs/configuration.md, generated from the settings classes of every process: `python -m deploy.configuration` writes it.

A test compares the file with the code, so a setting cannot change without its documentation.
"""

from pathlib import Path
from typing import Literal, get_args, get_origin

from pydantic.fields import FieldInfo

from deploy.platform import ROOT
from services.ingest import settings as ingest
from services.registry import settings as registry
from services.subsidy import settings as subsidy
from shared.settings import IN_FILE, OTHERS, Is, ServiceSettings, Settings, variable

PAGE = ROOT / "docs" / "configuration.md"
COMMON = ("Every API and worker 所有接口与工作进程", ServiceSettings)
# What each process has beyond these. The heading names the processes that are started with the class.
PROCESSES: list[tuple[str, type[Settings]]] = [
    ("ingest: `python -m services.ingest.api`", ingest.Settings),
    ("ingest: `python -m services.ingest.worker`", ingest.WorkerSettings),
    ("ingest: `python -m services.ingest.migrate`", ingest.MigrateSettings),
    ("registry: `python -m services.registry.api`", registry.Settings),
    ("registry: `python -m services.registry.worker`", registry.WorkerSettings),
    ("registry: `python -m services.registry.migrate`", registry.MigrateSettings),
    ("subsidy: `python -m services.subsidy.api`", subsidy.Settings),
    ("subsidy: `python -m services.subsidy.worker`", subsidy.WorkerSettings),
    ("subsidy: `python -m services.subsidy.migrate`", subsidy.MigrateSettings),
]
HEAD = f"""# Configuration 配置

*Generated from the settings classes by `python -m deploy.configuration`; a test compares. 由代码生成，请勿手改。*

`./tongcun up`, `./tongcun demo` and compose set all of this themselves. Whoever starts the processes otherwise gives each setting in one
of two ways, never both:

- `TONGCUN_NAME=value` in the environment, or
- `TONGCUN_NAME{IN_FILE}=/path`: the file holds the value (UTF-8; white space around it is dropped). The way for what is marked *secret*:
  an environment is inherited, and seen by whoever may look at the process.

An environment may hold the settings of several processes: each takes its own. A setting that is missing, empty, of the wrong form, given
twice, in contradiction with another, or known to no process (a misspelt one) is one line on standard error and exit code 2, before
anything is opened.

每项设置只用一种方式给出：环境变量 `TONGCUN_NAME`，或由 `TONGCUN_NAME{IN_FILE}` 指明内容所在的文件（密钥请用文件）。
缺少、为空、格式不对、重复给出、相互矛盾或名字写错，进程以一行说明退出（退出码 2），什么都不会改动。
"""


def page() -> str:
    parts = [HEAD, _section(*COMMON, inherited=Settings)]
    for title, cls in PROCESSES:
        parts.append(_section(title, cls, inherited=ServiceSettings if issubclass(cls, ServiceSettings) else Settings))
    others = "\n".join(f"| `{name}` | {meaning} |" for name, meaning in OTHERS.items())
    parts.append(f"## Read by other programs 其他程序读取的变量\n\n| variable | read by: meaning |\n|---|---|\n{others}\n")
    return "\n".join(parts)


def _section(title: str, cls: type[Settings], inherited: type[Settings]) -> str:
    own = {name: field for name, field in cls.model_fields.items() if name not in inherited.model_fields}
    rows = "\n".join(_row(name, field) for name, field in own.items())
    table = f"| variable | type | unit | default | meaning |\n|---|---|---|---|---|\n{rows}" if own else "Nothing more 无其他设置。"
    return f"## {title}\n\n{table}\n"


def _row(name: str, field: FieldInfo) -> str:
    told = _told(field)
    meaning = f"{field.description}{' — *secret*' if told.secret else ''}".replace("|", "\\|")
    return f"| `{variable(name)}` | {told.kind or _kind(field)}{_bounds(field)} | {told.unit or '–'} | {_default(field)} | {meaning} |"


def _told(field: FieldInfo) -> Is:
    """Beside the field, or inside an optional type."""
    inner = [argument for option in get_args(field.annotation) for argument in get_args(option)]
    return next((mark for mark in [*field.metadata, *inner] if isinstance(mark, Is)), Is())


def _kind(field: FieldInfo) -> str:
    if get_origin(field.annotation) is Literal:
        return ", ".join(get_args(field.annotation))
    return "integer" if field.annotation is int else "text"


def _bounds(field: FieldInfo) -> str:
    low, high = (next((getattr(m, name) for m in field.metadata if hasattr(m, name)), None) for name in ("ge", "le"))
    if low is None:
        return ""
    return f", {low:,} to {high:,}" if high is not None else f", at least {low:,}"


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "**required**"
    value = field.default.relative_to(ROOT) if isinstance(field.default, Path) else field.default
    return "none" if value is None else f"`{value}`"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
