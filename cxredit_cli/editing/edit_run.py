"""One run over a folder of edits: what is asked for, what is there already, and what its processes have done."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from cxredit_cli.editing.edited_folder import EditedFolder, Row
from cxredit_cli.editing.goals import Goal
from cxredit_cli.editing.worker_pool import Rows, Writers
from cxredit_cli.editing.write_edits import Format, Labels, Native
from cxredit_cli.intake.door import Suspect
from cxredit_cli.latent.strengths import strength_label
from cxredit_cli.processes import Processes
from cxredit_cli.storage.directions import Direction
from cxredit_cli.storage.models import Model


@dataclass(frozen=True, slots=True)
class EditOptions:
    """What is done to every image."""

    direction: Direction
    strengths: Sequence[float]
    layers: Sequence[int] | None = None  # w indices that move, None for all
    batch: int = 16
    goal: Goal | None = None  # None: `strengths`; else the strengths that each image needs
    format: Format = "png"
    native: Native | None = None  # None: the generator's pictures alone
    anatomy: Path | None = None  # the network that outlines films, None for the bundled one
    jobs: int = 1  # processes that write
    sheets: bool = True  # a contact sheet for each image

    @property
    def labels(self) -> list[str]:
        """The strengths as they stand in file names."""
        return [strength_label(strength) for strength in self.strengths]

    @property
    def layers_text(self) -> str:
        """The layers as people read them."""
        return "all" if self.layers is None else ",".join(str(layer) for layer in self.layers)

    @property
    def direction_text(self) -> str:
        """The direction as files name it."""
        return f"{self.direction.name} ({self.direction.method}) [{self.direction.digest}]"


@dataclass(slots=True)
class ApplyReport:
    """What a run did."""

    rows: list[Row] = field(default_factory=list)  # of the manifest, for the images of this run
    edited: int = 0  # images
    refused_images: int = 0  # films of which every edit was refused
    already_done: int = 0  # images that an earlier run had edited with the same parameters
    missed: list[Row] = field(default_factory=list)  # rows whose CTR is not within the goal's tolerance
    refused: list[Row] = field(default_factory=list)  # rows of edits that could not be carried to the film
    failed: list[tuple[str, str]] = field(default_factory=list)  # name, reason
    suspects: list[Suspect] = field(default_factory=list)  # of the images of this run


@dataclass(frozen=True, slots=True)
class Done:
    """What one process did of some images."""

    known: list[tuple[str, str, bool]] = field(default_factory=list)  # of each image: stem, recipe, if made just now
    failed: list[tuple[str, str]] = field(default_factory=list)
    suspects: list[Suspect] = field(default_factory=list)


class EditRun:
    """A folder that the processes of a run fill together; the first keeps its manifest and the report."""

    def __init__(self, model: Model, options: EditOptions, output: Path, images: int, processes: Processes) -> None:
        """Begin on `images` in all."""
        self.options, self.processes = options, processes
        self.folder = EditedFolder(output, images, options.sheets)
        text = (model.name, options.direction_text, options.layers_text)
        labels = Labels(output, options.sheets, options.format, *text)
        self.writers = Writers(labels, options.native, options.anatomy, options.jobs, self._written)
        self._waiting: list[Rows] = []  # of this process, for the first one's manifest
        self._report, self._known = ApplyReport(), list[tuple[str, str, bool]]()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.writers.__exit__(kind, error, trace)
        self.folder.__exit__(kind, error, trace)

    def names(self, images: Sequence[tuple[str, str, int]]) -> list[str]:
        """A stem for each of this process's next images: the stem of its file, its identity, its place among all.

        Names are given in the order of all images, whoever works on them, so each process hears of all.
        """
        named = [
            [self.folder.stem_for(stem, identity, number) for stem, identity, number in part]
            for part in self.processes.exchange(list(images))
        ]
        return named[self.processes.rank]

    def is_done(self, stem: str, recipe: str) -> bool:
        """Whether an earlier run has made all that is asked for."""
        goal = self.options.goal
        if goal is None:
            return self.folder.is_done(stem, self.options.labels, recipe)
        rows = self.folder.rows_of(stem, self.folder.labels_done(stem, recipe), recipe)
        return goal.is_met_by([row["target_ctr"] for row in rows])

    def add(
        self,
        images: Sequence[tuple[str, str]],
        waiting: Collection[str],
        failed: dict[str, tuple[str, str]],
        unreadable: Sequence[tuple[str, str]] = (),
        suspects: Sequence[Suspect] = (),
    ) -> None:
        """Tell the first process of this one's images, (stem, recipe) each, of which those `waiting` were edited.

        `failed` are those of them, by stem, that have no strength for their goal: name and reason.
        """
        known = [(stem, recipe, stem in waiting) for stem, recipe in images if stem not in failed]
        self._gather(Done(known, [*unreadable, *failed.values()], list(suspects)))

    def finish(self) -> ApplyReport:
        """Wait for the last edits of all processes; the report is the first one's."""
        self.writers.finish()
        self._gather(Done())
        if self.processes.first:
            self.folder.finish()
            for stem, recipe, new in self._known:
                self._report_rows(stem, recipe, new)
        return self._report

    def _written(self, rows: Rows) -> None:
        """Edits of one image are on disk: in the first process they are known at once, else with the next round."""
        if self.processes.first:
            self._remember(rows)
        else:
            self._waiting.append(rows)

    def _remember(self, rows: Sequence[dict[str, Any]]) -> None:
        for row in rows:
            self.folder.add_row(row)

    def _gather(self, done: Done) -> None:
        report, mine, self._waiting = self._report, self._waiting, []
        for part, written in self.processes.gather((done, mine)):
            for rows in written:
                self._remember(rows)
            self._known += part.known
            report.failed += part.failed
            report.suspects += part.suspects

    def _report_rows(self, stem: str, recipe: str, new: bool) -> None:
        options, report = self.options, self._report
        labels = options.labels if options.goal is None else self.folder.labels_done(stem, recipe)
        rows = self.folder.rows_of(stem, labels, recipe)
        report.rows += rows
        refused = [row for row in rows if row["refused"]]
        report.refused += refused
        report.already_done += not new
        report.edited += new and len(refused) < len(rows)
        report.refused_images += new and len(refused) == len(rows)
        if options.goal is not None:
            report.missed += [row for row in rows if not options.goal.is_reached_in(row)]
