"""``.dream3d``: image geometries of DREAM.3D (file version 7.0) and DREAM3D-NX (8.0).

Both are HDF5 with ``(z, y, x, components)`` arrays of cells; they differ in where the geometry stands. Angles are
Bunge's, in radians; lengths are taken as micrometres, as DREAM.3D's own readers leave them.

References
----------
SIMPL and simplnx (BlueQuartz Software), *Dream3dIO.cpp* and *EbsdLibConstants.h*,
https://github.com/BlueQuartzSoftware/simplnx
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from microgen.core import InputError, Microstructure
from microgen.core.orientations import NOT_INDEXED, from_euler
from microgen.io import dream3d_write, hdf5_array, header, sandbox
from microgen.io.ebsd import Phase, crystal_of, ebsd_map, grid_text
from microgen.io.pixel_size import PixelSize
from microgen.io.recording import Options, Recording
from microgen.io.sandbox import Hdf5

Array = NDArray[Any]

EXTENSIONS = (".dream3d",)

WHOLE = True
"""All fields of a structure are written, not one."""

write = dream3d_write.write

_ORIGIN = "DREAM.3D spacing, taken as micrometres"
_OURS = {name: ours for ours, name in dream3d_write.NAMES.items()}
_LAUE = {number: laue for laue, number in dream3d_write.STRUCTURES.items()}
_AGREES = 1e-5  # largest difference of quaternions that are the same orientation in single precision
_CHUNK = 1 << 18


@dataclass(frozen=True)
class _Image:
    """An image geometry: the group it stands in, cells, spacing and origin, all ``(z, y, x)``."""

    group: str
    cells: tuple[int, ...]
    spacing: tuple[float, ...]
    origin: tuple[float, ...]


def read(path: Path, options: Options) -> Recording:
    """Read the only image geometry, or the one that `options.dataset` names."""
    with sandbox.opened(path, options.max_pixels) as file:
        attrs, names = file.root()
        if not is_mine(attrs, names, file):
            raise InputError(f"{path} is no DREAM.3D file: it has neither DataContainers nor a DataStructure")
        return read_open(file, options)


def read_own(path: Path) -> dict[str, Any]:
    """Header that microgen wrote into the file, empty in files of other programs."""
    with sandbox.opened(path) as file:
        return header.loads(file.text("/" + header.NAME))


def is_mine(attrs: Mapping[str, Any], names: Sequence[str], file: Hdf5) -> bool:
    """True where the file states a version and has the group in which that version keeps its data."""
    return "FileVersion" in attrs and bool({"DataContainers", "DataStructure"} & set(names))


def read_open(file: Hdf5, options: Options) -> Recording:
    """Read an open file, see :func:`read`."""
    if hdf5_array.names_array(file, options.dataset):
        return _array(file, hdf5_array.chosen(file, options.dataset), options)
    image = _chosen(file, options.dataset)
    ours = header.loads(file.text("/" + header.NAME))
    flat = image.cells[0] == 1 and not options.volume if not ours else len(ours["shape"]) == 2
    shape, spacing = image.cells[flat:], image.spacing[flat:]
    arrays = {name: values.reshape(*shape, *values.shape[3:]) for name, values in _arrays(file, image)}
    if ours and (recording := header.restore(ours, _fields_of_ours(ours, arrays))):
        return recording
    phases = _phases(file, image)
    source = {"format": "dream3d", "version": file.attribute("FileVersion"), "geometry": image.group[1:]}
    if any(image.origin):
        source["origin_um"] = list(image.origin[flat:])
    size = PixelSize(spacing, _ORIGIN, "high")
    return _recording(arrays, phases, shape, size, source)


def _array(file: Hdf5, path: str, options: Options) -> Recording:
    """Read one array, with the spacing of its geometry where it has a value for each cell."""
    values = file.array(path)
    sizes: tuple[PixelSize, ...] = ()
    for image in _images(file):
        if path.startswith(image.group + "/") and values.shape[:3] == image.cells:
            flat = image.cells[0] == 1 and not options.volume
            values = values[0] if flat else values
            sizes = (PixelSize(image.spacing[flat:], _ORIGIN, "high"),)
    return hdf5_array.as_recording(file.path, path[1:], values, options, sizes)


def _recording(
    arrays: dict[str, Array],
    phases: Mapping[int, Phase],
    shape: tuple[int, ...],
    size: PixelSize,
    source: dict[str, Any],
) -> Recording:
    """Turn named arrays of cells into an EBSD map or volume, or into plain fields where there are no orientations."""
    euler, quaternion = arrays.pop("orientation", None), arrays.pop("quaternion", None)
    phase, mask = arrays.pop("phase", None), arrays.pop("mask", None)
    columns = header.foreign(arrays, len(shape)) if arrays else {}
    if euler is not None or quaternion is not None:
        number = phase if phase is not None else np.ones(shape, np.int32)
        return ebsd_map(
            columns,
            phase=number,
            orientation=_orientation(euler, quaternion),
            shape=shape,
            spacing=size.um,
            phases=phases,
            frame="unknown",
            source=source,
            indexed=None if mask is None else mask > 0,
            sizes=(size,),
        )
    if mask is not None:
        columns["mask"] = (mask > 0).astype(np.uint8)
    names: tuple[str, ...] = ()
    if phase is not None:
        columns["phase"] = header.whole_numbers("Phases", phase)
        names = _names(phases, int(columns["phase"].max()))
    crystals = {p.name: p.crystal for n, p in phases.items() if p.crystal and p.name in names and names[n] == p.name}
    structure = Microstructure(columns, size.um, names, source=source, crystals=crystals)
    return Recording(structure=structure, sizes=(size,))


def _names(phases: Mapping[int, Phase], largest: int) -> tuple[str, ...]:
    """Names of the phases by their number; number 0 is no phase in DREAM.3D."""
    if largest > 1 << 16:
        raise InputError(f"has a phase number of {largest}")
    last = max(largest, *phases, 0)
    return (NOT_INDEXED, *(phases[n].name if n in phases else f"phase {n}" for n in range(1, last + 1)))


def _orientation(euler: Array | None, quaternion: Array | None) -> Array:
    """Return the quaternions where they say the same as the angles, since they are more precise, else the angles."""
    if euler is None or quaternion is None:
        return np.asarray(euler if quaternion is None else quaternion)
    return quaternion if _agree(euler.reshape(-1, 3), quaternion.reshape(-1, 4)) else euler


def _agree(euler: Array, quaternion: Array) -> bool:
    if not (np.isfinite(euler).all() and np.isfinite(quaternion).all()):
        return False
    for start in range(0, len(euler), _CHUNK):
        angles, given = euler[start : start + _CHUNK], quaternion[start : start + _CHUNK]
        cosine = np.abs((from_euler(angles) * given).sum(axis=1))
        if np.abs(cosine - 1).max() > _AGREES:
            return False
    return True


def _fields_of_ours(ours: Mapping[str, Any], arrays: Mapping[str, Array]) -> dict[str, Array]:
    """Undo what writing did: phases count from 0 again, quaternions are those of the structure."""
    fields = {name: values for name, values in arrays.items() if name != "quaternion"}
    if "orientation" in fields:
        fields["orientation"] = _orientation(fields["orientation"], arrays.get("quaternion"))
        if fields["orientation"].shape[-1] == 3:
            fields["orientation"] = from_euler(fields["orientation"])
    if "phase" in fields and "phase" not in ours["fields"]:
        del fields["phase"]  # DREAM.3D needs it; it was made up
    elif "phase" in fields:
        fields["phase"] = fields["phase"] - dream3d_write.phase_shift(ours["phases"])
    return fields


def _images(file: Hdf5) -> list[_Image]:
    found = []
    for path, entry in file.objects.items():
        if path.startswith("/DataContainers/") and path.endswith("/_SIMPL_GEOMETRY"):
            values = [file.small(f"{path}/{name}") for name in ("DIMENSIONS", "SPACING", "ORIGIN")]
            found.append((path.removesuffix("/_SIMPL_GEOMETRY"), values))
        elif path.startswith("/DataStructure/") and "_SPACING" in entry.attrs:
            found.append((path, [entry.attrs.get(name) for name in ("_DIMENSIONS", "_SPACING", "_ORIGIN")]))
    return [image for group, values in found if (image := _image(group, *values)) is not None]


def _image(group: str, dimensions: Any, spacing: Any, origin: Any) -> _Image | None:
    """Return an image geometry from its three triples ``(x, y, z)``, None where it is another kind of geometry."""
    triples = [_triple(values) for values in (dimensions, spacing, origin or [0.0, 0.0, 0.0])]
    if not all(triples):
        return None
    cells = tuple(int(n) for n in triples[0])
    if min(cells) < 1 or math.prod(cells) > 1 << 48 or min(triples[1]) <= 0:
        raise InputError(f"has an image geometry of {grid_text(cells)} cells, {triples[1]} um each, in {group[1:]}")
    return _Image(group, cells, triples[1], triples[2])


def _triple(values: Any) -> tuple[float, ...]:
    """Return three numbers in the order (z, y, x), none where they are not three numbers."""
    if not isinstance(values, list) or len(values) != 3 or not all(isinstance(v, (int, float)) for v in values):
        return ()
    return tuple(sandbox.decimal(v) for v in reversed(values)) if np.isfinite(values).all() else ()


def _chosen(file: Hdf5, dataset: str | None) -> _Image:
    images = _images(file)
    with_cells = [image for image in images if _cell_paths(file, image)]
    if dataset is not None:
        asked = dataset.strip("/")
        named = [i for i in with_cells if asked in (i.group[1:], i.group.partition("/")[2].partition("/")[2])]
        if len(named) != 1:
            raise InputError(f"{file.path} has no image geometry {dataset!r}; {_content(file, with_cells)}")
        return named[0]
    if len(with_cells) != 1:
        advice = "; pass --dataset NAME (in Python read(path, dataset=...))" if with_cells else ""
        raise InputError(f"{file.path}: {_content(file, with_cells)}{advice}")
    return with_cells[0]


def _cell_paths(file: Hdf5, image: _Image) -> list[str]:
    """Arrays of numbers under a geometry that have a value for each of its cells."""
    below = image.group + "/"
    arrays = ((path, e.shape or ()) for path, e in file.objects.items() if path.startswith(below) and e.is_numbers)
    return [path for path, shape in arrays if shape[:3] == image.cells and len(shape) < 5]


def _content(file: Hdf5, images: Sequence[_Image]) -> str:
    if images:
        named = [f"{i.group.rpartition('/')[2]} ({grid_text(i.cells)} cells)" for i in images]
        return f"it holds the image geometries {', '.join(named[:20])}"
    data = [(p, e.shape or ()) for p, e in file.objects.items() if _is_data(p, e)]
    largest = sorted(data, key=lambda found: -math.prod(found[1]))
    named = [f"{p.rpartition('/')[2]} ({grid_text(shape)})" for p, shape in largest]
    others = f"only {', '.join(named[:6])}{' ...' * (len(named) > 6)}" if named else "nothing else either"
    return f"it holds no voxel image: no array has a value for each cell of an image geometry; there is {others}"


def _is_data(path: str, entry: sandbox.Entry) -> bool:
    inside = path.startswith(("/DataContainers/", "/DataStructure/")) and "/_SIMPL_GEOMETRY" not in path
    return inside and entry.is_numbers and bool(entry.shape)


def _arrays(file: Hdf5, image: _Image) -> Iterator[tuple[str, Array]]:
    """Arrays of cells by our name for them, without an axis of one component."""
    taken: set[str] = set()
    for path in _cell_paths(file, image):
        above, _, last = path.rpartition("/")
        name = _OURS.get(last, last)
        if name in taken:
            name = f"{above.rpartition('/')[2]} {last}"
        taken.add(name)
        values = file.array(path)
        values = values[..., 0] if values.ndim == 4 and values.shape[3] == 1 else values
        if _fits(name, values):
            yield name, _from_passive(values) if name == "quaternion" else values


def _fits(name: str, values: Array) -> bool:
    """False for an array that bears a known name and is something else."""
    components = {"orientation": (3,), "quaternion": (4,), "phase": (), "mask": (), "grain": ()}
    return name not in components or values.shape[3:] == components[name]


def _from_passive(values: Array) -> Array:
    """Return DREAM.3D's quaternions (x, y, z, w), which turn the sample into the crystal, as ours."""
    return np.stack([values[..., 3], -values[..., 0], -values[..., 1], -values[..., 2]], axis=-1)


def _phases(file: Hdf5, image: _Image) -> dict[int, Phase]:
    """Phases by number, from the ensemble data of this geometry, or from the only ones that there are."""
    every = [p for p in file.objects if p.endswith("/CrystalStructures")]
    paths = [p for p in every if p.startswith(image.group + "/")] or every
    if len(paths) != 1:
        return {}
    group = paths[0].rpartition("/")[0]
    structures = _listed(file.small(paths[0]))
    names = _listed(file.small(f"{group}/PhaseName") or file.small(f"{group}/MaterialName"))
    lattices = file.small(f"{group}/LatticeConstants") or []
    found = {}
    for number in range(1, max(len(structures), len(names))):
        name = str(names[number]).strip() if number < len(names) else ""
        laue = _LAUE.get(structures[number]) if number < len(structures) else None
        lattice = lattices[number] if number < len(lattices) and isinstance(lattices[number], list) else []
        edges = [sandbox.decimal(v) for v in lattice if isinstance(v, (int, float)) and np.isfinite(v)]
        found[number] = Phase(name or f"phase {number}", crystal_of(laue, edges, x_along="a"))
    return found


def _listed(values: Any) -> list[Any]:
    """Return an ``(n,)`` or ``(n, 1)`` list as a flat one."""
    if not isinstance(values, list):
        return []
    return [v[0] if isinstance(v, list) and v else v for v in values]
