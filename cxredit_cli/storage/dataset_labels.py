"""Labels from a table or from a dataset that was prepared with one."""

from pathlib import Path

from cxredit_cli.storage.dataset import Dataset
from cxredit_cli.storage.label_styles import LabelRow
from cxredit_cli.storage.labels import LabelTable, Uncertain, read_labels


def read_label_table(path: Path, uncertain: Uncertain = "skip") -> LabelTable:
    """Read labels from a table, or from a dataset that `cxredit prepare` made."""
    if path.suffix.lower() not in (".h5", ".hdf5"):
        return read_labels(path, uncertain)
    dataset = Dataset(path)
    texts = (dataset.names, dataset.labels, dataset.uncertain, dataset.patient_ids, dataset.views)
    columns = zip(*texts, dataset.edits, strict=True)
    cells: list[tuple[str, ...]] = list(zip(*dataset.columns.values(), strict=True)) or [()] * len(dataset)
    rows = [
        LabelRow(name, _split(labels), patient, view, values, _split(uncertain_labels), edit is not None)
        for (name, labels, uncertain_labels, patient, view, edit), values in zip(columns, cells, strict=True)
    ]
    return LabelTable("dataset", tuple(dataset.columns), rows).settled(uncertain)


def _split(labels: str) -> tuple[str, ...]:
    return tuple(label for label in labels.split("|") if label)
