"""The Exporter: the trained model as a servable."""

from pathlib import Path

from pipeline.config import Config
from pipeline.model_files import build_translator, load_model
from serving.export import export


def export_model(config: Config, transform_dir: Path, trainer_dir: Path, output_dir: Path) -> dict[str, float]:
    """Write `OUTPUT_DIR/NAME/1/`, a SavedModel with the configured search.

    Returns:
        The size of what was written, in bytes.
    """
    translator = build_translator(config, load_model(trainer_dir, transform_dir), transform_dir)
    version = export(translator, output_dir / config.name)
    return {"bytes": sum(path.stat().st_size for path in version.rglob("*") if path.is_file())}
