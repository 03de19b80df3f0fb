"""Reference frames of Euler angles, and the way from each to the frame of the map.

The **map frame** is that of the picture: x to the right along a row, y down along a column, z into the section. Vendors
state Euler angles in another frame: its z axis points out of the surface, towards the viewer, and its x axis lies along
the tilt axis of the specimen (Oxford, Bruker) or down its slope (EDAX). How that frame lies *in the picture* depends on
how the operator showed the picture (scan rotation, "SEM view"), and most files do not say. A frame is therefore written
down as two words, where its x and its y axis point in the picture; z follows from the right-hand rule:

========== ============= ==============================================================================================
frame      x, y point    stated by
========== ============= ==============================================================================================
``edax``   up, left      EDAX "setting 2", which MTEX assumes; DREAM.3D: Euler frame 90 degrees about <001>, sample 180
                         degrees about <010>. Settings 1, 3 and 4 are ``down-right``, ``right-up`` and ``left-down``.
``oxford`` left, down    DREAM.3D: sample 180 degrees about <010>; EMsoft: Oxford's phi1 is EDAX's less 90 degrees.
                         Older loaders of MTEX turn .ctf and .crc files to ``right-up`` instead. The two differ by
                         AZtec's *scanning rotation angle*, which only .h5oina files state.
``bruker`` left, down    MTEX, for ESPRIT's coordinate system number 5.
``map``    right, down   nothing to do: the map frame itself, as in files that microgen or MTEX wrote.
========== ============= ==============================================================================================

So check it once for a microscope, with a crystal of known orientation, and then say it. What depends on it: frames that
differ by half a turn about the surface normal give the same inverse pole figure maps and slip traces, and pole figures
that differ by half a turn; frames that differ by a half turn about another axis give mirrored slip traces and pole
figures; frames in which x and y are swapped exchange the maps of x and y too. Disorientations, grains and everything
measured from them do not depend on it at all. Nothing here is applied unless it is asked for by name.

References
----------
MTEX, *Reference Frame Alignment* (documentation page EBSDReferenceFrame) and its function eulerCorrectionRotation.
DREAM.3D, documentation of *Read EDAX EBSD Data* and *Read Oxford Instr. Ebsd Data*. EMsoft issue 155. Britton et al.,
Tutorial: Crystal orientations and EBSD, or which way is up?, Mater. Charact. 117 (2016) 113,
doi:10.1016/j.matchar.2016.04.008. Oxford Instruments, *H5OINAFile.md*.
"""

from __future__ import annotations

import numpy as np

from microgen.core.errors import InputError
from microgen.core.microstructure import Microstructure
from microgen.core.orientations import FRAMES, Float, quaternions, rotations

MAP_AXES: dict[str, str] = {"edax": "up-left", "oxford": "left-down", "bruker": "left-down", "map": "right-down"}
"""Where the x and y axes of a vendor's Euler frame are taken to point in the picture."""

_POINTS = {"right": (1, 0, 0), "left": (-1, 0, 0), "down": (0, 1, 0), "up": (0, -1, 0)}


def frame_axes(frame: str) -> Float:
    """Return the axes of an Euler frame as columns in the map frame, shape ``(3, 3)``.

    Parameters
    ----------
    frame
        Name of a vendor's frame, see :data:`MAP_AXES`, or where its x and y axes point in the picture: ``"up-left"``.

    Raises
    ------
    InputError
        If the frame is unknown.

    Examples
    --------
    >>> frame_axes("edax") + 0.0
    array([[ 0., -1.,  0.],
           [-1.,  0.,  0.],
           [ 0.,  0., -1.]])
    """
    words = MAP_AXES.get(frame, frame).split("-")
    if len(words) == 2 and set(words) <= set(_POINTS):
        x, y = (np.array(_POINTS[word], dtype=float) for word in words)
        if x @ y == 0:
            return np.stack([x, y, np.cross(x, y)], axis=1)
    known = ", ".join(MAP_AXES)
    raise InputError(
        f"no Euler frame {frame!r}; say {known}, or where its x and y axes point in the picture, like up-left"
    )


def to_map_frame(orientation: Float, frame: str) -> Float:
    """Return orientations ``(..., 4)``, stated in `frame`, in the frame of the map.

    Parameters
    ----------
    orientation
        Unit quaternions, see :mod:`microgen.core.orientations`.
    frame
        As in :func:`frame_axes`.

    Examples
    --------
    A crystal that lies along the axes of EDAX's frame has its a axis along the upward direction of the picture:

    >>> rotations(to_map_frame(np.array([1.0, 0.0, 0.0, 0.0]), "edax")).apply([1.0, 0.0, 0.0]).round(6) + 0.0
    array([[ 0., -1.,  0.]])
    """
    return _turned(orientation, frame_axes(frame))


def from_map_frame(orientation: Float, frame: str) -> Float:
    """Return orientations ``(..., 4)`` of the map frame in `frame`: the inverse of :func:`to_map_frame`."""
    return _turned(orientation, frame_axes(frame).T)


def in_map_frame(microstructure: Microstructure, frame: str | None = None) -> Microstructure:
    """Return an EBSD map with its orientations in the map frame.

    Parameters
    ----------
    microstructure
        With the field ``orientation``. Points outside the field ``mask`` keep the identity.
    frame
        Frame in which the orientations are, as in :func:`frame_axes`; by default what ``source["euler_frame"]`` says.

    Returns
    -------
    Microstructure
        ``source["euler_frame"]`` is ``"map"``, and ``source["euler_frame_was"]`` the frame that was taken.

    Raises
    ------
    InputError
        If no frame is given and none is known.
    """
    stated = str(microstructure.source.get("euler_frame", "unknown"))
    frame = frame or stated
    if frame == "unknown":
        choices = ", ".join(f for f in FRAMES if f != "unknown")
        raise InputError(f"the frame of the Euler angles is unknown; say which it is: {choices}, or like up-left")
    given = microstructure["orientation"]
    turned = to_map_frame(given, frame)
    if "mask" in microstructure:
        turned[microstructure["mask"] == 0] = [1, 0, 0, 0]
    was = microstructure.source.get("euler_frame_was", frame) if frame == "map" else frame
    source = {**microstructure.source, "euler_frame": "map", "euler_frame_was": was}
    return microstructure.with_fields(orientation=turned.astype(given.dtype)).replace(source=source)


def _turned(orientation: Float, axes: Float) -> Float:
    from scipy.spatial.transform import Rotation

    given = np.asarray(orientation)
    return quaternions(Rotation.from_matrix(axes) * rotations(given)).reshape(given.shape)
