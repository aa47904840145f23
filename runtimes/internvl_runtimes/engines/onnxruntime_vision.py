"""The vision side in ONNX Runtime, fp32 on the CPU: the embedded default, no torch."""

from internvl_engines.contract import artifact as names
from internvl_engines.store.local import Artifact
from internvl_runtimes.engines.base import EngineFailed, Pixels, Rows, VisionGeometry
from internvl_runtimes.engines.onnxruntime_session import open_session, run_session


class OnnxRuntimeVision:
    """`VisionEngine` over the graphs of one vision artifact. A session may be run from any thread."""

    def __init__(self, artifact: Artifact, *, threads: int) -> None:
        """Open the artifact's graphs.

        Raises:
            EngineFailed: a graph is refused, or the manifest's geometry is incomplete.
            ArtifactCorrupt: the manifest lists no such file.
        """
        sizes = artifact.manifest.geometry
        missing = [letter for letter in ("S", "P", "D", "K", "H") if letter not in sizes]
        if missing:
            raise EngineFailed(f"{artifact.folder}: the manifest gives no geometry {', '.join(missing)}")
        self._geometry = VisionGeometry(
            tile_size=sizes["S"],
            patches=sizes["P"],
            patch_width=sizes["D"],
            hidden_size=sizes["H"],
            kept_tokens=sizes["K"],
            compressed_tokens=sizes.get("C"),
        )
        self._vit = open_session(artifact.file(names.VIT), threads=threads)
        self._keep = open_session(artifact.file(names.PROJECTOR_KEEP), threads=threads)
        self._router = self._compress = None
        if self._geometry.compressed_tokens is not None:
            self._router = open_session(artifact.file(names.ROUTER), threads=threads)
            self._compress = open_session(artifact.file(names.PROJECTOR_COMPRESS), threads=threads)

    @property
    def geometry(self) -> VisionGeometry:
        """Sizes that callers respect."""
        return self._geometry

    def encode(self, pixels: Pixels) -> Rows:
        """The ViT: float32 [N, 3, S, S] -> patches float32 [N, P, D], the class token dropped."""
        patches: Rows = run_session(self._vit, {"pixel_values": pixels})[0]
        return patches

    def compress_probability(self, patches: Rows) -> Rows:
        """The router: patches [N, P, D] -> p0 float32 [N]."""
        if self._router is None:
            raise EngineFailed("this model has no router: keep every tile")
        probability: Rows = run_session(self._router, {"patches": patches})[0]
        return probability

    def project(self, patches: Rows, *, compressed: bool) -> Rows:
        """Pixel shuffle and projector: patches [n, P, D] -> rows float32 [n, K or C, H]."""
        session = self._compress if compressed else self._keep
        if session is None:
            raise EngineFailed("this model has no projector for compressed tiles: keep every tile")
        rows: Rows = run_session(session, {"patches": patches})[0]
        return rows
