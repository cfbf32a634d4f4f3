"""Compiles scan kernels for a GPU that need not be there: CAPABILITY KERNEL...

Prints each kernel's name and how often its code exchanges values between lanes.
"""

from __future__ import annotations

import sys

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from posemamba.scan import triton_kernels

OPTIONS = {
    "CAUSAL": False,
    "INTEGER": False,
    "REVERSE": False,
    "CHANNELS": 128,
    "RANK": 4,
    "STATES": 16,
    "JOINTS": 17,
    "CHUNK": 32,
    "TILE": 32,
    "BLOCK": 32,
}
SIZES = ("frames", "chunks", "batch")


def main(capability: str, *names: str) -> None:
    for name in names:
        kernel = getattr(triton_kernels, name)
        signature = {}
        for argument in kernel.arg_names:
            pointer = "*i32" if argument == "partner" else "*fp32"
            kind = "i32" if argument in SIZES else pointer
            signature[argument] = "constexpr" if argument in OPTIONS else kind
        constants = {
            (kernel.arg_names.index(n),): v for n, v in OPTIONS.items() if n in kernel.arg_names
        }
        # Pointers are aligned, as PyTorch's are: without that no load would be wide anyway.
        aligned = {
            (i,): [["tt.divisibility", 16]]
            for i, argument in enumerate(kernel.arg_names)
            if signature[argument].startswith("*")
        }
        source = ASTSource(kernel, signature, constexprs=constants, attrs=aligned)
        target = GPUTarget("cuda", int(capability), 32)
        compiled = triton.compile(source, target=target, options={"num_warps": 1})
        print(name, f"shuffles={compiled.asm['ptx'].count('shfl.sync')}")


if __name__ == "__main__":
    main(*sys.argv[1:])
