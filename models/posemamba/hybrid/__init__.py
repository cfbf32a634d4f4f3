"""Networks beside PoseMamba, behind the same interface: other mixers of joints and frames.

"pose-magic" is made **after** Pose Magic (arXiv 2408.02922): of the paper itself the layout is
known, not every detail, and where it is silent the choices are ours (see `hybrid.layers`).
"attention-mamba" follows the idea of PointABM (arXiv 2406.06069): attention where there is no
order, among the joints, and a state space model where there is, in time.
"""

from posemamba.hybrid.network import LAYERS, HybridNetwork, build

__all__ = ["LAYERS", "HybridNetwork", "build"]
