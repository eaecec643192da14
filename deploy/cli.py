"""`./tongcun VERB`: the composition root. Operators read Chinese and English, one line per problem, never a traceback."""

import asyncio
import contextlib
import json
import os
import sys
import time
import traceback
from collections.abc import Coroutine
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, TypeVar

import httpx
import typer

from deploy import feed_verbs, operations, policies, welcome
from deploy.client import Refused
from deploy.demo import recompute as recomputation
from deploy.demo import run as demo_run
from deploy.demo.show import Show
from deploy.embedded.installation import HOST, SERVICES, Installation
from deploy.embedded.supervisor import CannotStart
from deploy.platform import PARTITIONS, PORT_BASE, ROOT, Access, platform, readiness, until_signal
from deploy.terminal import Misused, OfDemo, Stopped, access, over_http, say, var_directory
from deploy.wipe import wipe
from services.subsidy.domain.policy import PolicyError
from services.subsidy.settings import GROUP, parse_partitions
from shared.auth import CLAIMS, ROLES, TENANT_ROLES, lacks_tenant
from shared.keyring import KeyringError
from shared.settings import SettingsError, refuse_unknown

T = TypeVar("T")
FAILED, MISUSED, UNKNOWN, INTERRUPTED = 1, 2, 70, 130  # exit codes
MAX_TOKEN_DAYS = 366


app = typer.Typer(
    help="通村 Tongcun: rural parcels into subsidy lines, exact to the fen. 农村寄递物流补贴，精确到分。",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
consumer_app = typer.Typer(no_args_is_help=True, help="日志的消费者 · who reads the numbered logs")
app.add_typer(feed_verbs.feed_app, name="feed")
app.add_typer(feed_verbs.quarantine_app, name="quarantine")
app.add_typer(feed_verbs.ingest_app, name="ingest")
app.command()(feed_verbs.push)
app.command("ingest-file")(feed_verbs.ingest_file)
app.add_typer(consumer_app, name="consumer")
log_app = typer.Typer(no_args_is_help=True, help="编号日志 · the numbered logs")
app.add_typer(log_app, name="log")
set_aside_app = typer.Typer(no_args_is_help=True, help="读不懂而搁置的消息 · messages that could not be read")
app.add_typer(set_aside_app, name="set-aside")
policy_app = typer.Typer(no_args_is_help=True, help="政策文件 · policy files")
app.add_typer(policy_app, name="policy")


# Running


@app.command()
def up(
    demo: Annotated[bool, typer.Option("--demo", help="以演示数据启动 · with the demo's data")] = False,
    port_base: Annotated[
        int, typer.Option(min=1024, max=65533, help="ingest 的端口，其后两个给 registry、subsidy · ingest's port")
    ] = PORT_BASE,
    partitions: Annotated[
        str, typer.Option(help="本进程负责的扫描日志分区，如 0-3；group：由 Kafka 消费组分配 · the worker's, or as the group shares them")
    ] = f"0-{PARTITIONS - 1}",
) -> None:
    """启动整个平台，Ctrl-C 停止 · run the whole platform until Ctrl-C"""
    _check_partitions(partitions)
    asyncio.run(_up(var_directory() / "demo" if demo else var_directory(), demo, port_base, partitions))


async def _up(var: Path, demo: bool, port_base: int, partitions: str) -> None:
    began = time.monotonic()
    to_fill = demo and await emptied_for_demo(var)
    with until_signal() as stop:
        async with platform(var, port_base=port_base, scan_partitions=partitions, say=say) as running:
            if to_fill:
                told = await _unless(stop, demo_run.demonstrate(running, Show(), var / "statement.csv"))
                demo_run.check_agreement(told)
            say(f"已就绪，用时 {time.monotonic() - began:.1f} 秒 · ready\n")
            _welcome(running, demo_run.settled_parcel(var) if demo else None)
            await stop.wait()
            say("正在按顺序停止 · stopping, in order")


async def emptied_for_demo(var: Path) -> bool:
    """Whether the demo's data have still to be made. What an interrupted or disagreeing run left would be counted twice: removed."""
    if demo_run.settled_parcel(var):
        return False
    if (var / "lock").exists():
        say(f"{var} 中的演示未完成、不一致或版本较旧，清空后重做 · holds a demo unfinished, in disagreement or older: removed, begun anew")
    await wipe(var, say)
    return True


def _welcome(running: Access, parcel: tuple[str, str] | None = None) -> None:
    say("\n".join(welcome.lines(running, parcel)))


@app.command()
def demo(
    json_path: Annotated[Path | None, typer.Option("--json", help="结果另存为 JSON · write the result as JSON, too")] = None,
    keep: Annotated[bool, typer.Option("--keep", help="结束后继续运行，Ctrl-C 停止 · serve on until Ctrl-C")] = False,
) -> None:
    """从空白开始演示主要工作并自我核对 · the main job on an empty var/demo, checked"""
    raise typer.Exit(asyncio.run(_demo(var_directory() / "demo", json_path, keep)))


async def _demo(var: Path, json_path: Path | None, keep: bool) -> int:
    began, show = time.monotonic(), Show()
    await wipe(var, say)
    show.line(demo_run.INTRODUCTION)
    show.line()
    show.step("正在启动 PostgreSQL、消息代理、三个接口与三个工作进程", "starting PostgreSQL, broker, three APIs, three workers")
    with until_signal() as stop:
        async with platform(var, say=show.line) as running:
            show.step("已就绪", "ready")
            told = await _unless(stop, demo_run.demonstrate(running, show, var / "statement.csv"))
            result = told | {"wall_s": round(time.monotonic() - began, 1)}
            show.line(f"\n用时 {result['wall_s']} 秒 · {result['wall_s']} s of wall time")
            if result["ok"]:
                show.line("接着看 · look around: ./tongcun up --demo")
            if json_path:
                json_path.write_text(json.dumps(result, ensure_ascii=False, indent=1), encoding="utf-8")
            if keep:
                show.line()
                _welcome(running, demo_run.settled_parcel(var))
                await stop.wait()
    return 0 if result["ok"] else FAILED


async def _unless(stop: asyncio.Event, work: Coroutine[Any, Any, T]) -> T:
    """What `work` gives; Stopped, with the work cancelled, when the operator does not want to wait for it."""
    task, stopped = asyncio.create_task(work), asyncio.create_task(stop.wait())
    await asyncio.wait({task, stopped}, return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    if task.done():
        return task.result()
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    raise Stopped


@app.command()
def reset(yes: Annotated[bool, typer.Option("--yes", help="不再询问 · do not ask")] = False) -> None:
    """删除全部数据，重新开始 · remove all data and begin anew"""
    var = var_directory()
    installed = [directory for directory in (var / "demo", var) if (directory / "lock").exists()]
    if not installed:
        return say(f"{var} 中没有数据，无需删除 · holds no installation: nothing to do")
    if not yes and not typer.confirm(f"删除 {var} 中的全部数据（证据、账、密钥），不可恢复？· Remove all data, for good?"):
        raise typer.Exit(FAILED)
    for directory in installed:
        asyncio.run(wipe(directory, say))
    return say(f"已删除 · removed {var}")


@app.command()
def status(demo: OfDemo = False) -> None:
    """各进程是否就绪，账记到哪里 · what runs, and how far the books are"""
    raise typer.Exit(asyncio.run(_status(access(demo), "up --demo" if demo else "up")))


async def _status(at: Access, start: str) -> int:
    if at.elsewhere:
        return await _tell_ready(at, at.urls)
    ports = at.installation.ports
    if not at.installation.is_running:
        why = "已停止 · stopped" if ports else "尚未启动过 · nothing was ever started here"
        say(f"{at.installation.var}: {why}: ./tongcun {start}")
        if Installation(at.installation.var / "demo").is_running:
            say("演示正在运行 · the demo is running: ./tongcun status --demo")
        return FAILED
    names = [f"{service}{kind}" for service in SERVICES for kind in ("", "-worker")]
    return await _tell_ready(at, {name: f"http://{HOST}:{ports.get(name, 0)}" for name in names})


async def _tell_ready(at: Access, urls: dict[str, str]) -> int:
    well = True
    async with httpx.AsyncClient(timeout=5) as http:
        for name, url in urls.items():
            ready, why = await readiness(http, url)
            say(f"{name:16} {'就绪 ready' if ready else '未就绪 not ready: ' + why}")
            well = well and ready
        if well:
            say(await operations.books(at, http))
    return 0 if well else FAILED


# Tokens, feeds, pushes, consumers


@app.command()
def token(
    role: Annotated[str, typer.Option(help=" ".join(ROLES))],
    claim: Annotated[str | None, typer.Option(help="kind=value；kind: " + " ".join(CLAIMS))] = None,
    days: Annotated[int, typer.Option(min=1, max=MAX_TOKEN_DAYS, help="有效天数 · days that it is good for")] = 30,
    demo: OfDemo = False,
) -> None:
    """签发令牌 · issue a token with the local key"""
    if role not in ROLES:
        raise Misused(f"--role {role}: 没有这个角色 · no such role; one of {' '.join(ROLES)}")
    kind, equals, value = (claim or "").partition("=")
    if claim and (kind not in CLAIMS or not equals or not value):
        raise Misused(f"--claim {claim}: write kind=value, kind one of {' '.join(CLAIMS)} / 写作 kind=value")
    if lacks_tenant([role], kind if claim else None):
        wanted = " or ".join(f"{c}=…" for c in TENANT_ROLES[role])
        raise Misused(f"--role {role} 须限定到自己的数据 · must be limited to its own rows: --claim {wanted}")
    say(access(demo).token(role, ttl_s=int(timedelta(days=days).total_seconds()), claim=(kind, value) if claim else None))


Service = Annotated[str, typer.Option(help="ingest | registry")]


@consumer_app.command("list")
def consumer_list(demo: OfDemo = False) -> None:
    """消费者及其进度 · consumers and where they are"""
    over_http(demo, operations.consumer_list)


@consumer_app.command("remove")
def consumer_remove(name: str, service: Service = "ingest", demo: OfDemo = False) -> None:
    """日志不再等待这个消费者 · the log waits for it no longer"""
    over_http(demo, lambda at, http: operations.consumer_remove(at, http, name, service))


@set_aside_app.command("list")
def set_aside_list(demo: OfDemo = False) -> None:
    """读不懂的消息 · messages that could not be read"""
    over_http(demo, operations.set_aside_list)


@set_aside_app.command("read")
def set_aside_read(demo: OfDemo = False) -> None:
    """升级之后重新读取 · read them again, after an upgrade"""
    over_http(demo, operations.set_aside_read)


@log_app.command("reopen")
def log_reopen(partition: int, service: Service = "ingest", demo: OfDemo = False) -> None:
    """修复之后，让已关闭的分区重新接收 · after a repair, let a closed partition take entries again"""
    over_http(demo, lambda at, http: operations.log_reopen(at, http, partition, service))


@app.command()
def recompute(
    period: Annotated[str | None, typer.Option(help="只核对该月，如 2023-07 · only that month")] = None,
    policy: Annotated[list[Path] | None, typer.Option(help="县里自己的政策文件 · the county's own policy file")] = None,
    demo: OfDemo = False,
) -> None:
    """凭证据独立重算，与账本逐件核对 · perform it again from the evidence, and compare with the books"""
    if period and not policies.MONTH.fullmatch(period):
        raise Misused(f"--period {period} 不是月份，请写成 2023-07 / is no month: write it as 2023-07")
    at = access(demo)
    named = ["--period", period] if period else []
    named += [part for path in policy or [] for part in ("--policy", str(path))]
    urls = [part for service in SERVICES for part in (f"--{service}", at.urls[service])]
    raise typer.Exit(recomputation.main([*urls, "--token", at.token("auditor"), *named]))


@policy_app.command("check")
def policy_check(files: Annotated[list[Path], typer.Argument(help="政策文件（.toml）· policy files")]) -> None:
    """启用前核对政策文件：条款、档次、引文、案例、不退坡 · look a policy over before it decides"""
    wrong = 0
    for path in files:
        found = list(policies.check_file(path))
        wrong += len(found)
        for line in found or [f"{path.name}: 没有问题 / nothing is wrong"]:
            say(line)
    if wrong:
        raise typer.Exit(FAILED)


@policy_app.command("compare")
def policy_compare(
    old: str,
    new: str,
    period: Annotated[str, typer.Option(help="月份，如 2023-07 · month")],
    as_json: Annotated[bool, typer.Option("--json", help="机器可读 · for machines")] = False,
    demo: OfDemo = False,
) -> None:
    """同样的证据，两个政策各付多少；不动账本 · what two policies pay for the same evidence; the books are not touched"""
    if not policies.MONTH.fullmatch(period):
        raise Misused(f"--period {period} 不是月份，请写成 2023-07 / is no month: write it as 2023-07")
    dsn = os.environ.get("TONGCUN_DATABASE_URL") or _running(demo).dsn("subsidy", "app")
    compared = asyncio.run(policies.compare_over(dsn, old, new, period))
    for line in [compared.as_json()] if as_json else compared.lines():
        say(line)


def _running(demo: bool) -> Installation:
    installation = access(demo).installation
    if not installation.is_running:
        raise Refused(f"{installation.var}: 没有在运行 · is not running: ./tongcun up{' --demo' if demo else ''}")
    return installation


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def bench(context: typer.Context) -> None:
    """打印性能数字与同次测得的下限 · figures against floors of the same run"""
    sys.path.append(str(ROOT))  # tests are no part of what is installed
    from tests.bench import main as benches  # a developer's verb: its packages come with the development lock

    raise typer.Exit(benches.run(context.args, var_directory()))


def _check_partitions(text: str) -> None:
    try:
        if text != GROUP and parse_partitions(text)[-1] >= PARTITIONS:
            raise ValueError(f"there are {PARTITIONS} partitions, 0 to {PARTITIONS - 1} / 共 {PARTITIONS} 个分区")
    except ValueError as error:
        raise Misused(f"--partitions {text}: {error}") from None


# The one place where errors become lines


def main(arguments: list[str] | None = None) -> int:
    """-> the exit code."""
    try:
        refuse_unknown(os.environ)
        code = app(args=arguments, prog_name="tongcun", standalone_mode=False)
        return code if isinstance(code, int) else 0
    except (Stopped, KeyboardInterrupt, typer.Abort):
        return _fail("已中断 · interrupted", INTERRUPTED)
    except typer.TyperException as error:  # an unknown verb, a missing option
        return _fail(" ".join(getattr(error, "format_message", error.__str__)().split()), MISUSED)
    except (Misused, SettingsError) as error:
        return _fail(str(error), MISUSED)
    except PolicyError as error:
        return _fail(f"{error.zh} / {error}", FAILED)
    except (CannotStart, Refused, KeyringError, policies.CannotCompare) as error:
        return _fail(str(error), FAILED)
    except OSError as error:
        return _fail(f"{error.filename or ''} {error.strerror or error}".strip(), FAILED)
    except Exception:
        return _fail(f"出现未预料的错误，详见 · something unforeseen went wrong, written down in {_written_down()}", UNKNOWN)


def _fail(line: str, code: int) -> int:
    print(f"tongcun: {line}", file=sys.stderr, flush=True)
    return code


def _written_down() -> Path:
    """The traceback, for whoever mends it."""
    directory = var_directory() / "log"
    with contextlib.suppress(OSError):
        directory.mkdir(parents=True, exist_ok=True)
    path = (directory if os.access(directory, os.W_OK) else Path("/tmp")) / "cli-error.log"  # noqa: S108 - the last resort
    with path.open("a", encoding="utf-8") as file:
        file.write(f"{time.strftime('%Y-%m-%dT%H:%M:%S%z')} tongcun {' '.join(sys.argv[1:])}\n{traceback.format_exc()}\n")
    return path


if __name__ == "__main__":
    sys.exit(main())
