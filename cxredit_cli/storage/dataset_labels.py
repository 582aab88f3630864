"""Labels from a CSV or from a dataset that was prepared with one."""

from pathlib import Path

from cxredit_cli.storage.dataset import Dataset
from cxredit_cli.storage.labels import LabelRow, LabelTable, read_labels


def read_label_table(path: Path) -> LabelTable:
    """Read labels from a CSV, or from a dataset that `cxredit prepare` made."""
    if path.suffix.lower() not in (".h5", ".hdf5"):
        return read_labels(path)
    dataset = Dataset(path)
    columns = zip(dataset.names, dataset.labels, dataset.patient_ids, dataset.views, strict=True)
    cells: list[tuple[str, ...]] = list(zip(*dataset.columns.values(), strict=True)) or [()] * len(dataset)
    rows = [
        LabelRow(name, tuple(label for label in labels.split("|") if label), patient, view, values)
        for (name, labels, patient, view), values in zip(columns, cells, strict=True)
    ]
    return LabelTable("dataset", tuple(dataset.columns), rows)
