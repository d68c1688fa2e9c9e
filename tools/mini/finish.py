"""From the records of the working folder to `mini.csv.xz` and its data card."""

from __future__ import annotations

import csv
import io
import lzma
import warnings
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from pymatgen.core import Composition, Structure

from mini.candidates import affordable, load_prototypes, make_candidates
from mini.work import SYMPREC, check_belongs, dataset_of, read_records

COLUMNS = (
    "material_id",
    "formula",
    "prototype",
    "formation_energy_per_atom",
    "bulk_modulus",
    "spacegroup.number",
    "nsites",
    "volume_per_atom",
    "cif",
)
ENERGY_RANGE = (-5.0, 1.0)  # eV/atom
MODULUS_RANGE = (2.0, 500.0)  # GPa; below the lower end the atoms are hardly bound
LARGEST_VOLUME = 100.0  # A^3/atom
SAME_ENERGY, SAME_VOLUME = 0.001, 0.005  # eV/atom and relative: one structure, found twice


@dataclass
class Collection:
    """Rows that are kept, and how many records were not, by reason."""

    rows: list[dict] = field(default_factory=list)
    tried: int = 0
    rejected: Counter = field(default_factory=Counter)


def collect(records: dict[str, dict], references: dict[str, float]) -> Collection:
    """Filter the records and drop duplicates, in the order of their ids.

    `references` are the energies of the elements in eV/atom.
    """
    result = Collection(tried=len(records))
    kept: dict[tuple, list[dict]] = defaultdict(list)
    for name in sorted(records):
        record = records[name]
        if "rejected" in record:
            result.rejected[record["rejected"]] += 1
            continue
        row = make_row(record, references)
        alike = kept[row["formula"], row["spacegroup.number"]]
        reason = refusal(row) or ("duplicate" if any(same(row, o) for o in alike) else None)
        if reason:
            result.rejected[reason] += 1
            continue
        alike.append(row)
        result.rows.append(row)
    return result


def make_row(record: dict, references: dict[str, float]) -> dict:
    """A record as a row of the table, numbers not yet rounded and the structure for the CIF."""
    composition = Composition(Counter(record["species"]))
    fractions = composition.fractional_composition.get_el_amt_dict()
    baseline = sum(references[element] * x for element, x in fractions.items())
    return {
        "material_id": record["id"],
        "formula": composition.reduced_formula,
        "prototype": record["prototype"].split("/")[0],
        "formation_energy_per_atom": record["energy"] - baseline,
        "bulk_modulus": record["bulk_modulus"],
        "spacegroup.number": record["spacegroup"],
        "nsites": len(record["species"]),
        "volume_per_atom": record["volume"],
        "structure": Structure(record["lattice"], record["species"], record["frac"]),
    }


def refusal(row: dict) -> str | None:
    """Why the labels of a row cannot be believed; None where they can."""
    low, high = ENERGY_RANGE
    if not low <= row["formation_energy_per_atom"] <= high:
        return f"formation energy outside {low:g} to {high:g} eV/atom"
    low, high = MODULUS_RANGE
    if not low <= row["bulk_modulus"] <= high:
        return f"bulk modulus outside {low:g} to {high:g} GPa"
    if row["volume_per_atom"] > LARGEST_VOLUME:
        return f"volume above {LARGEST_VOLUME:g} A^3 per atom"
    return None


def same(one: dict, other: dict) -> bool:
    """Whether two rows of one formula and space group are one structure."""
    energy = one["formation_energy_per_atom"] - other["formation_energy_per_atom"]
    volume = one["volume_per_atom"] / other["volume_per_atom"] - 1
    return abs(energy) < SAME_ENERGY and abs(volume) < SAME_VOLUME


def add_cifs(collection: Collection) -> None:
    """Write each structure as CIF and drop the row if reading it back gives another symmetry."""
    warnings.filterwarnings("ignore")
    rows = []
    for row in collection.rows:
        row["cif"] = row.pop("structure").to(fmt="cif")
        parsed = Structure.from_str(row["cif"], fmt="cif")
        dataset = dataset_of(parsed, SYMPREC)
        intact = dataset is not None and dataset.number == row["spacegroup.number"]
        if intact and len(parsed) == row["nsites"]:
            rows.append(row)
        else:
            collection.rejected["symmetry lost in the CIF"] += 1
    collection.rows = rows


def write_csv(rows: list[dict], path: Path) -> None:
    """Write rows as CSV in xz; the same rows give the same bytes."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        rounded = row | {
            "formation_energy_per_atom": f"{row['formation_energy_per_atom']:.5f}",
            "bulk_modulus": f"{row['bulk_modulus']:.2f}",
            "volume_per_atom": f"{row['volume_per_atom']:.4f}",
        }
        writer.writerow(rounded)
    path.write_bytes(lzma.compress(text.getvalue().encode(), preset=9 | lzma.PRESET_EXTREME))


def finish(arguments) -> None:
    """Filter what was labelled, write `mini.csv.xz` and the card, and print the counts."""
    from mini.card import write_card
    from mini.elements import relax_elements
    from mini.literature import label_known

    references = relax_elements(arguments.work)
    energies = {element: record["energy"] for element, record in references.items()}
    candidates = affordable(make_candidates(load_prototypes(), arguments.count, arguments.seed))
    records = read_records(arguments.work, "crystals-*.jsonl")
    check_belongs(records, candidates, arguments.work)
    if not records:
        raise SystemExit(f"no labelled crystals in {arguments.work}: run without --finish first")
    collection = collect(records, energies)
    add_cifs(collection)
    arguments.out.mkdir(parents=True, exist_ok=True)
    write_csv(collection.rows, arguments.out / "mini.csv.xz")
    known = label_known(arguments.work)
    write_card(arguments, collection, len(candidates), references, known)
    size = (arguments.out / "mini.csv.xz").stat().st_size / 1e6
    print(f"{collection.tried} tried, {len(collection.rows)} kept, {size:.2f} MB")
    for reason, count in collection.rejected.most_common():
        print(f"  {count:5d}  {reason}")
