"""Checkpoints: exact, whole, and with a way back."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError
from torch import nn
from torch.optim import AdamW

from microgen.core import InputError, StorageError
from microgen.train import checkpoint


def trained(width: int = 3, steps: int = 2) -> tuple[nn.Module, nn.Module, dict[str, torch.optim.Optimizer]]:
    torch.manual_seed(width)
    net, average = nn.Linear(width, 2), nn.Linear(width, 2)
    optimizer = AdamW(net.parameters(), lr=0.1, fused=True)
    for _ in range(steps):
        net(torch.ones(4, width)).square().sum().backward()
        optimizer.step()
        optimizer.zero_grad()
    return net, average, {"net": optimizer}


def write(folder: Path, images: int) -> None:
    checkpoint.write_checkpoint(folder, images, checkpoint.pack(*trained()), {"images": images, "loss": 0.1 + images})


def test_everything_comes_back_bit_for_bit_and_learns_on_equally(tmp_path: Path) -> None:
    one, other = trained(), trained(steps=0)
    checkpoint.write_checkpoint(tmp_path, 8, checkpoint.pack(*one), {"images": 8, "loss": 1 / 3})
    found = checkpoint.read_checkpoint(tmp_path, warn=pytest.fail)
    assert found is not None
    assert found[1] == {"images": 8, "loss": 1 / 3}
    checkpoint.unpack(found[0], *other)
    for net, _, optimizers in (one, other):
        net(torch.ones(1, 3)).sum().backward()
        optimizers["net"].step()
    tensors = [checkpoint.pack(*side) for side in (one, other)]
    assert tensors[0].keys() == tensors[1].keys()
    assert all(torch.equal(tensors[0][k], tensors[1][k]) for k in tensors[0])
    assert any(name.endswith("exp_avg_sq") for name in tensors[0])


def test_two_newest_are_kept_and_leftovers_of_a_crash_removed(tmp_path: Path) -> None:
    (tmp_path / ".000000000001.abc.safetensors").write_bytes(b"part")
    (tmp_path / "000000000009.safetensors").write_bytes(b"tensors whose numbers were never written")
    for images in (1, 2, 3):
        write(tmp_path, images)
    stems = ["000000000002", "000000000003"]
    assert sorted(p.name for p in tmp_path.iterdir()) == [f"{s}{e}" for s in stems for e in (".json", ".safetensors")]


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize(
    "damage",
    [
        lambda stem: flip(stem.with_suffix(".safetensors")),
        lambda stem: stem.with_suffix(".safetensors").unlink(),
        lambda stem: stem.with_suffix(".safetensors").write_bytes(b""),
        lambda stem: stem.with_suffix(".json").write_text('{"format": 1, "ima'),
        lambda stem: stem.with_suffix(".json").write_text('{"format": 1}'),
        lambda stem: stem.with_suffix(".json").write_text('{"format": 99}'),
        lambda stem: stem.with_suffix(".json").write_bytes(b"\xff\xfe\x00"),
    ],
)
def test_damage_to_the_newest_falls_back_to_the_one_before(tmp_path: Path, damage: object) -> None:
    write(tmp_path, 4)
    write(tmp_path, 8)
    damage(tmp_path / "000000000008")  # type: ignore[operator]
    warnings: list[str] = []
    found = checkpoint.read_checkpoint(tmp_path, warn=warnings.append)
    assert found is not None
    assert found[1]["images"] == 4
    assert len(warnings) == 1
    assert "000000000008" in warnings[0]
    write(tmp_path, 6)
    assert {int(p.stem) for p in tmp_path.iterdir()} == {4, 6}  # the damaged one is not taken for the newest again


def test_damage_to_all_is_an_error_and_none_at_all_is_not(tmp_path: Path) -> None:
    assert checkpoint.read_checkpoint(tmp_path / "absent", warn=pytest.fail) is None
    write(tmp_path, 4)
    flip(tmp_path / "000000000004.safetensors")
    with pytest.raises(InputError, match="every checkpoint"):
        checkpoint.read_checkpoint(tmp_path, warn=lambda message: None)


@pytest.mark.parametrize("side", [trained(4), (trained()[0], trained()[1], trained(4)[2])])
def test_a_checkpoint_of_another_network_is_refused(tmp_path: Path, side: object) -> None:
    with pytest.raises(InputError, match="does not fit"):
        checkpoint.unpack(checkpoint.pack(*trained()), *side)  # type: ignore[misc]


def test_a_full_disk_keeps_the_earlier_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, 4)

    def full(*args: object, **kwargs: object) -> None:
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    monkeypatch.setattr("safetensors.torch.save_file", full)
    with pytest.raises(StorageError, match="no space left"):
        write(tmp_path, 8)
    assert {p.name for p in tmp_path.iterdir()} == {"000000000004.json", "000000000004.safetensors"}
