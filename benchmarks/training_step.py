"""Training step of our U-Net against those of MONAI and diffusers, of like parameters and operations.

    python benchmarks/training_step.py                  # a Markdown table on standard output
    python benchmarks/training_step.py --rounds 2       # quicker, noisier

One step is forward, backward and AdamW. Time is processor time on one thread, the least of several rounds in which
the networks take turns, so that a busy machine hurts all of them alike. Memory is the growth of the resident set over
two steps in a fresh process. Linux only. Needs the extra ``bench``.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

SIDE, BATCH = 64, 4
CASES = ["2-D fp32", "2-D bf16", "3-D fp32"]
NETS = ["microgen", "monai", "diffusers"]


def build(name: str, dims: int) -> tuple[nn.Module, Callable[[nn.Module, Tensor], Tensor]]:
    """Return a network and how it is called on a noisy field; no attention anywhere, three levels, two blocks each."""
    torch.manual_seed(0)
    if name == "microgen":
        from microgen.nets import UNet

        net = UNet(dims, 1, 1, channels=(64, 128, 192), blocks=2, embedding=256)
        return net, lambda net, x: net(x, torch.ones(len(x), 256))
    if name == "monai":
        from monai.networks.nets import DiffusionModelUNet

        net = DiffusionModelUNet(
            spatial_dims=dims,
            in_channels=1,
            out_channels=1,
            channels=(64, 128, 192),
            num_res_blocks=2,
            attention_levels=(False, False, False),
            num_head_channels=8,
        )
        return net, lambda net, x: net(x, torch.ones(len(x)))
    from diffusers import UNet2DModel

    net = UNet2DModel(
        sample_size=SIDE,
        in_channels=1,
        out_channels=1,
        block_out_channels=(64, 128, 192),
        layers_per_block=2,
        down_block_types=("DownBlock2D",) * 3,
        up_block_types=("UpBlock2D",) * 3,
        add_attention=False,
    )
    return net, lambda net, x: net(x, torch.ones(len(x))).sample


def prepare(name: str, case: str) -> tuple[nn.Module, Callable[[], None]]:
    """Return the network and one training step of it."""
    dims = int(case[0])
    net, call = build(name, dims)
    x = torch.randn(BATCH if dims == 2 else 1, 1, *(SIDE if dims == 2 else SIDE // 2,) * dims)
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-4, fused=True)
    half = "bf16" in case

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16) if half else contextlib.nullcontext():
            loss = (call(net, x) - x).square().mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return net, step


def operations(name: str, case: str) -> float:
    """Billions of operations of one forward pass of one sample."""
    from torch.utils.flop_counter import FlopCounterMode

    dims = int(case[0])
    net, call = build(name, dims)
    x = torch.randn(1, 1, *(SIDE if dims == 2 else SIDE // 2,) * dims)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        call(net, x)
    return counter.get_total_flops() / 1e9


def memory(name: str, case: str) -> float:
    """Growth of the resident set over two steps in MB; runs in its own process."""
    _, step = prepare(name, case)
    Path("/proc/self/clear_refs").write_text("5")
    before = status("VmRSS")
    step()
    step()
    return (status("VmHWM") - before) / 1024


def status(key: str) -> float:
    """A number of kB from /proc/self/status."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return float(next(line for line in lines if line.startswith(key)).split()[1])


def times(names: list[str], case: str, rounds: int) -> dict[str, float]:
    """Least processor seconds of a step for each network, taken in turns."""
    steps = {name: prepare(name, case)[1] for name in names}
    best = dict.fromkeys(names, float("inf"))
    for round_ in range(rounds + 1):
        for name, step in steps.items():
            start = time.process_time()
            step()
            if round_:  # the first round warms up
                best[name] = min(best[name], time.process_time() - start)
    return best


def run(case: str, rounds: int) -> list[dict[str, Any]]:
    """Measure one case."""
    names = NETS if case.startswith("2") else NETS[:2]  # diffusers has no like 3-D network
    seconds = times(names, case, rounds)
    rows = []
    for name in names:
        words = [sys.executable, __file__, "--memory", name, case]
        grown = json.loads(subprocess.run(words, check=True, capture_output=True, text=True).stdout.splitlines()[-1])
        size = sum(p.numel() for p in build(name, int(case[0]))[0].parameters()) / 1e6
        row = {"case": case, "net": name, "parameters": size, "operations": operations(name, case)}
        rows.append({**row, "seconds": seconds[name], "memory": grown})
    return rows


def table(rows: list[dict[str, Any]]) -> str:
    """Write the rows as Markdown, with ratios to MONAI."""
    lines = [
        "| case | network | million parameters | GFLOP forward | s a step | of MONAI | MB | of MONAI |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        base = next(r for r in rows if r["case"] == row["case"] and r["net"] == "monai")
        time_ratio, memory_ratio = row["seconds"] / base["seconds"], row["memory"] / base["memory"]
        lines.append(
            f"| {row['case']} | {row['net']} | {row['parameters']:.2f} | {row['operations']:.2f} | "
            f"{row['seconds']:.3f} | {time_ratio:.2f} | {row['memory']:.0f} | {memory_ratio:.2f} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Read the arguments and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--cases", nargs="*", default=CASES)
    parser.add_argument("--memory", nargs=2, metavar=("NET", "CASE"))
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.memory:
        print(json.dumps(memory(*given.memory)))
        return
    print(table([row for case in given.cases for row in run(case, given.rounds)]))


if __name__ == "__main__":
    main()
