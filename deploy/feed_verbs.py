"""`tongcun feed …`, `tongcun quarantine …`, `tongcun ingest …`, `tongcun push`: what has to do with senders."""

from pathlib import Path
from typing import Annotated, Any

import typer

from deploy import feed_operations as operations
from deploy import ingest_file as ingest_files
from deploy import kit
from deploy.platform import keyring_path
from deploy.terminal import Misused, OfDemo, access, over_http, say
from services.ingest.brands import FORMATS, NATIVE
from shared import keyring

feed_app = typer.Typer(no_args_is_help=True, help="数据源：新建、列出、设置、换密钥、体检、资料包 · senders' feeds")
quarantine_app = typer.Typer(no_args_is_help=True, help="读不懂而隔离的事件 · events that could not be read")
ingest_app = typer.Typer(no_args_is_help=True, help="接入：按修订后的编码表重发 · corrected code tables")

Format = Annotated[str, typer.Option("--format", help=" ".join(FORMATS))]
Mode = Annotated[str, typer.Option(help="sandbox | live | paused")]


SecretFile = Annotated[
    Path | None, typer.Option(help="对方自有密钥的文件，如中通 appSecret · a file with the sender's own secret; default: one is made")
]


Signature = Annotated[
    str | None, typer.Option(help="签名方式，见 docs/brands.md；canonical 可用 webhook · scheme; default: any of the format")
]
Reason = Annotated[str, typer.Option(help="原因，永久保留 · why; kept for good")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="只试算 · tell what would be, write nothing")]


@feed_app.command("create")
def feed_create(
    name: str,
    format_name: Format,
    mode: Mode = "sandbox",
    brands: Annotated[str | None, typer.Option(help="逗号分隔 · comma-separated; default: all that the format can tell")] = None,
    namespace: Annotated[str | None, typer.Option(help="站点编码所属 · whose site codes it uses; default: each item's brand")] = None,
    secret_file: SecretFile = None,
    signature: Signature = None,
    demo: OfDemo = False,
) -> None:
    """新建数据源，密钥只显示一次 · a new feed; its secret is shown once"""
    own = operations.own_secret(secret_file)
    over_http(demo, lambda at, http: operations.feed_create(at, http, name, format_name, mode, brands, namespace, own, signature))


@feed_app.command("list")
def feed_list(demo: OfDemo = False) -> None:
    """列出数据源 · the feeds"""
    over_http(demo, operations.feed_list)


@feed_app.command("rotate")
def feed_rotate(
    name: str,
    overlap_s: Annotated[
        int, typer.Option(min=0, help="旧密钥继续有效的秒数，0 立即作废 · seconds the old ones stay good; 0: revoked")
    ] = 86400,
    secret_file: SecretFile = None,
    demo: OfDemo = False,
) -> None:
    """换密钥，旧密钥暂时仍有效 · a new secret beside the old one"""
    own = operations.own_secret(secret_file)
    over_http(demo, lambda at, http: operations.feed_rotate(at, http, name, overlap_s, own))


@feed_app.command("mode")
def feed_mode(name: str, mode: str, demo: OfDemo = False) -> None:
    """改模式 sandbox | live | paused · change its mode"""
    over_http(demo, lambda at, http: operations.feed_mode(at, http, name, mode))


@feed_app.command("set")
def feed_set(
    name: str,
    silence_after_s: Annotated[int | None, typer.Option(help="多少秒没有推送即告警 · seconds of silence before the alarm")] = None,
    signature: Annotated[str | None, typer.Option(help="签名方式；any：格式允许的任一种 · scheme; any: any of the format")] = None,
    allow_from: Annotated[
        str | None, typer.Option(help="允许的网络，逗号分隔；any：不限 · networks it may push from, comma-separated; any: all")
    ] = None,
    demo: OfDemo = False,
) -> None:
    """改设置：静默告警、签名方式、来源网络 · silence alarm, signature scheme, networks"""
    wishes: dict[str, Any] = {}
    if silence_after_s is not None:
        wishes["silence_after_s"] = silence_after_s
    if signature is not None:
        wishes["signature"] = None if signature == "any" else signature
    if allow_from is not None:
        wishes["allow_from"] = None if allow_from == "any" else allow_from.split(",")
    if not wishes:
        raise Misused("没有要修改的内容 · nothing is to be changed: --silence-after-s, --signature, --allow-from")
    over_http(demo, lambda at, http: operations.feed_set(at, http, name, wishes))


@feed_app.command("health")
def feed_health(name: str, demo: OfDemo = False) -> None:
    """运行状况 · how it is doing"""
    over_http(demo, lambda at, http: operations.feed_health(at, http, name))


@feed_app.command("kit")
def feed_kit(
    name: str,
    into: Annotated[Path | None, typer.Option(help="写到哪个目录 · the folder to write; default: kit-NAME")] = None,
    demo: OfDemo = False,
) -> None:
    """为对方工程师准备的资料包：curl、样例、应有的应答 · a folder for the sender's engineer: a curl, a sample, the expected answer"""
    over_http(demo, lambda at, http: kit.write(at, http, name, into or Path(f"kit-{name}")))


@quarantine_app.command("list")
def quarantine_list(
    feed: Annotated[str | None, typer.Option(help="只看该数据源 · of one feed")] = None,
    status: Annotated[str, typer.Option(help="open | redriven | dismissed")] = "open",
    demo: OfDemo = False,
) -> None:
    """隔离的事件 · events that could not be read"""
    over_http(demo, lambda at, http: operations.quarantine_list(at, http, feed, status))


@quarantine_app.command("show")
def quarantine_show(quarantine_id: str, demo: OfDemo = False) -> None:
    """一件及其报文，个人信息已遮盖；查看会留痕 · one with its push, personal data masked; each look is written down"""
    over_http(demo, lambda at, http: operations.quarantine_show(at, http, quarantine_id))


@quarantine_app.command("redrive")
def quarantine_redrive(
    reason: Reason,
    ids: Annotated[list[str] | None, typer.Argument(metavar="[QUARANTINE_ID]…", help="不给则取最早的 · default: the oldest")] = None,
    feed: Annotated[str | None, typer.Option(help="只处理该数据源 · of one feed")] = None,
    code: Annotated[str | None, typer.Option(help="只处理该原因 · with one code")] = None,
    dry_run: DryRun = False,
    demo: OfDemo = False,
) -> None:
    """修复之后重新处理 · read them again, after a repair"""
    wishes = {"quarantine_ids": ids or None, "feed": feed, "code": code, "reason": reason, "dry_run": dry_run}
    over_http(demo, lambda at, http: operations.quarantine_redrive(at, http, wishes))


@quarantine_app.command("dismiss")
def quarantine_dismiss(reason: Reason, ids: Annotated[list[str], typer.Argument(metavar="QUARANTINE_ID…")], demo: OfDemo = False) -> None:
    """关闭永远读不懂的 · close those that will never be read"""
    over_http(demo, lambda at, http: operations.quarantine_dismiss(at, http, ids, reason))


@feed_app.command("columns")
def feed_columns(
    name: str,
    file: Annotated[Path, typer.Argument(help="JSON：headings、fixed、values，见 docs/files.md · see docs/files.md")],
    demo: OfDemo = False,
) -> None:
    """保存文件各列的对应关系 · save which column of its files is which"""
    over_http(demo, lambda at, http: operations.feed_columns(at, http, name, file))


def ingest_file(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="CSV、XLSX 或 NDJSON · of scans")],
    feed: Annotated[str, typer.Option(help="数据源（canonical）· the feed that it counts for")],
    demo: OfDemo = False,
) -> None:
    """上传网点导出的扫描文件；可中断后继续 · an outlet's export; goes on where it stopped"""
    over_http(demo, lambda at, http: ingest_files.send(at, http, file, feed))


@ingest_app.command("rotate-keyring")
def ingest_rotate_keyring(demo: OfDemo = False) -> None:
    """加密内容改用新钥匙，旧的仍可解密；之后请重启并备份 · a new key for all that is encrypted; then start anew, and back it up"""
    path = keyring_path(access(demo).installation)
    name = keyring.rotate(path)
    say(f"{path}: 当前钥匙 current key {name}；请备份此文件并重启 ingest、registry · back this file up and start both anew")


@ingest_app.command("remap")
def ingest_remap(feed: str, reason: Reason, dry_run: DryRun = False, demo: OfDemo = False) -> None:
    """编码表修订后，把受影响的事件以更高的版本重发；回执不变 · after a table was corrected: its events again, with a higher version"""
    over_http(demo, lambda at, http: operations.remap(at, http, feed, reason, dry_run))


def push(
    format_name: Annotated[str, typer.Argument(metavar="FORMAT", help=" ".join(NATIVE))],
    file: Annotated[
        Path | None,
        typer.Argument(help="JSON 文件；不给则向沙箱发送该格式的样例 · a JSON file; without it the format's sample, to a sandbox feed"),
    ] = None,
    feed: Annotated[str | None, typer.Option(help="数据源；只有一个时可省略 · which feed, where there are several")] = None,
    demo: OfDemo = False,
) -> None:
    """签名、发送，打印应答、判定与说明 · sign, send, print acknowledgement, verdict and explanation"""
    over_http(demo, lambda at, http: operations.push(at, http, format_name, file, feed))
