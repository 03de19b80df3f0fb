"""OME-TIFF (``.ome.tif``): a TIFF whose description is OME-XML, with physical sizes along x, y and z.

Reading is that of any TIFF. The header of microgen stands in a comment annotation, which OME readers keep.

References
----------
OME data model 2016-06, https://docs.openmicroscopy.org/ome-model/6.2.2/ome-tiff/specification.html
"""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

import tifffile
from numpy.typing import NDArray

from microgen.core import InputError, Microstructure
from microgen.io import own, tiff

EXTENSIONS = (".ome.tif", ".ome.tiff")

read, read_own = tiff.read, tiff.read_own

_TYPES = {"uint8": "uint8", "int8": "int8", "uint16": "uint16", "int16": "int16", "uint32": "uint32", "int32": "int32",
          "float32": "float", "float64": "double"}  # fmt: skip
_SCHEMA = "http://www.openmicroscopy.org/Schemas/OME/2016-06"


def write(path: Path, structure: Microstructure, recipe: Mapping[str, Any] | None) -> None:
    """Write the only field, calibrated in micrometres; files over 4 GB become BigTIFF."""
    ((name, values),) = structure.fields.items()
    if values.ndim != structure.ndim:
        raise InputError(f"field {name!r} has channels, which a gray TIFF cannot hold; write .h5")
    stored = own.storable(name, values, tuple(_TYPES), "write .h5, which keeps every type")
    tifffile.imwrite(
        path,
        stored,
        byteorder="<",
        photometric="minisblack",
        description=_xml(structure, name, stored, recipe).encode(),
        metadata=None,
        software="microgen",
        extratags=tiff.synthetic_tags(recipe),
    )


def _xml(structure: Microstructure, name: str, stored: NDArray[Any], recipe: Mapping[str, Any] | None) -> str:
    """OME-XML of one image; ``um`` stands as the micro sign, as the schema has it."""
    z = structure.shape[0] if structure.ndim == 3 else 1
    sizes = zip("XYZ", structure.spacing[::-1], strict=False)
    physical = " ".join(f'PhysicalSize{axis}="{um!r}" PhysicalSize{axis}Unit="µm"' for axis, um in sizes)
    header = escape(own.dumps(own.texts(structure, recipe)), quote=False)
    return (
        '<?xml version="1.0" encoding="UTF-8"?>'
        f'<OME xmlns="{_SCHEMA}" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" '
        f'xsi:schemaLocation="{_SCHEMA} {_SCHEMA}/ome.xsd" Creator="microgen">'
        f'<Image ID="Image:0" Name="{escape(name)}">'
        f'<Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="{_TYPES[stored.dtype.name]}" '
        f'SizeX="{stored.shape[-1]}" SizeY="{stored.shape[-2]}" SizeZ="{z}" SizeC="1" SizeT="1" '
        f'BigEndian="false" {physical}>'
        f'<Channel ID="Channel:0:0" SamplesPerPixel="1"/><TiffData IFD="0" PlaneCount="{z}"/></Pixels>'
        '<AnnotationRef ID="Annotation:0"/></Image>'
        f'<StructuredAnnotations><CommentAnnotation ID="Annotation:0" Namespace="{tiff.OME_NAMESPACE}">'
        f"<Value>{header}</Value></CommentAnnotation></StructuredAnnotations></OME>"
    )
