"""How the demo talks: progress and tables, coloured on a terminal, plain lines elsewhere; Chinese first, English beside it."""

import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

PLAIN_WIDTH = 10_000  # columns where there is no terminal: a file has no edge to wrap at
ROOMY = 110
PLAIN_STEPS = 4  # lines of progress where there is no terminal


class Counting(Protocol):
    def __call__(self, done: int = 1, /) -> None: ...


class Show:
    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(width=None if sys.stdout.isatty() else PLAIN_WIDTH, highlight=False, soft_wrap=False)
        self.began = time.monotonic()

    def _print(self, shown: RenderableType, **options: Any) -> None:
        if self.console.is_terminal:
            self.console.print(shown, **options)
            return
        with self.console.capture() as captured:
            self.console.print(shown, **options)
        for line in captured.get().removesuffix("\n").split("\n"):  # columns are padded to the right, which is nothing to read
            print(line.rstrip(), file=self.console.file, flush=True)

    def line(self, text: str = "") -> None:
        self._print(text, markup=False)

    def step(self, zh: str, en: str) -> None:
        self._print(f"[{time.monotonic() - self.began:5.1f} s] {zh} · {en}", markup=False, style="cyan")

    def title(self, zh: str, en: str) -> None:
        self._print("")
        self._print(f"{zh} · {en}", markup=False, style="bold")

    def text(self, text: str) -> None:
        """A paragraph, indented."""
        self._print(Padding(text.replace("[", "\\["), (0, 0, 0, 4), expand=False))

    def table(self, columns: Sequence[tuple[str, str]], rows: Iterable[Sequence[object]], words: int = 1) -> None:
        """`columns`: (Chinese, English). The first `words` of them are text, the others numbers, aligned to the right."""
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
        whole = words < len(columns) and self.console.width >= ROOMY  # names beside numbers are not broken where there is room
        for i, (zh, en) in enumerate(columns):
            table.add_column(f"{zh}\n{en}".strip(), justify="left" if i < words else "right", no_wrap=whole or i >= words, overflow="fold")
        for row in rows:
            table.add_row(*(str(cell).replace("[", "\\[") for cell in row))
        self._print(Padding(table, (0, 0, 0, 4), expand=False))

    @contextmanager
    def progress(self, zh: str, en: str, total: int) -> Iterator[Counting]:
        if not self.console.is_terminal:
            self.step(f"{zh}（{total}）", f"{en} ({total})")
            yield self._plainly(total)
            return
        columns = (TextColumn("        {task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, console=self.console, transient=False) as bar:
            task = bar.add_task(f"{zh} · {en}", total=total)
            yield lambda done=1: bar.advance(task, done)

    def _plainly(self, total: int) -> Counting:
        so_far = 0

        def count(done: int = 1) -> None:
            nonlocal so_far
            before, so_far = so_far, so_far + done
            if so_far * PLAIN_STEPS // max(total, 1) > before * PLAIN_STEPS // max(total, 1):
                self.line(f"          {so_far} / {total}")

        return count
