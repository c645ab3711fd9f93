"""Published figures of the devices that a plan may name.

Memory is what torch reports as usable, which is less than the number in the name. FLOP/s are dense (without sparsity)
and, for bfloat16, with accumulation in float32, which is what torch uses. A matrix product in float32 runs at the rate
of "float32": torch uses the faster TF32 only where it is told to. Sources: NVIDIA's data sheets of H200, H100 (SXM),
A100 80GB (SXM) and L40S, and its Ada whitepaper for the RTX 4090.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Device:
    """One device.

    Attributes:
        kind: its name in the table.
        memory_gib: usable memory.
        float32, bfloat16: peak of matrix products in TFLOP/s.
        bandwidth: of its memory, in GB/s (1e9).
        link: to the other devices of the machine, in GB/s in one direction.
    """

    kind: str
    memory_gib: float
    float32: float
    bfloat16: float
    bandwidth: float
    link: float

    @property
    def is_gpu(self) -> bool:
        """Whether training takes the code's path for GPUs."""
        return self.kind != "cpu"

    def peak(self, dtype: str) -> float:
        """Return the peak in FLOP/s of matrix products whose inputs are of `dtype`."""
        return 1e12 * (self.float32 if dtype == "float32" else self.bfloat16)


DEVICES = {
    device.kind: device
    for device in (
        Device("h200", 139.8, 66.9, 989.4, 4800, 450),
        Device("h100", 79.1, 66.9, 989.4, 3350, 450),
        Device("a100-80", 79.2, 19.5, 312, 2039, 300),
        Device("l40s", 44.4, 91.6, 362, 864, 32),
        Device("rtx4090", 23.6, 82.6, 165.2, 1008, 32),
        # A core at 3 GHz with AVX2: 32 operations a cycle; bfloat16 has no unit of its own there. Memory: a laptop's.
        Device("cpu", 8, 0.1, 0.1, 10, 10),
    )
}
"""By kind. The RTX 4090's tensor cores accumulate in float32 at half their advertised rate; cpu is one core."""
