"""First stage of a run: fine-tuning of an arm, resumed after interruptions."""

from fp_lab.lab.config import ExperimentConfig
from fp_lab.lab.files.run_folder import RunFolder
from fp_lab.lab.materials.materials import Materials
from fp_lab.lab.runtime.reporter import Reporter
from fp_lab.lab.training.checkpoints import Settle, forget_other_trainings, save_checkpoint
from fp_lab.lab.training.fit import fit
from fp_lab.lab.training.ranks import train_in_ranks
from fp_lab.lab.training.trainer import steps_taken
from fp_lab.model import FramePackModel


def train(
    folder: RunFolder,
    config: ExperimentConfig,
    key: str,
    materials: Materials,
    reporter: Reporter,
    settle: Settle | None = None,
) -> None:
    """Train an arm and write its model (averaged weights), its table of steps and its efficiency.

    Training resumes from a checkpoint with the same key; the result has the same bits as without
    interruption, and as without checkpoints to track.

    Args:
        folder: folder of the run.
        config: settings of the run.
        key: key of the training stage.
        materials: codec and training videos.
        reporter: receiver of every step.
        settle: called with a saved checkpoint every `track.every` steps; None: there are none.

    Raises:
        ValueError: the settings cannot be followed.
        RanksFailed: one of several processes that train together has failed.
    """
    forget_other_trainings(folder, key)
    if config.training.ranks > 1:
        steps_taken(folder.checkpoint, key, reporter)  # sets one of no use aside before any rank looks
        train_in_ranks(folder, config, key, materials, reporter, settle)
        return

    def take(model: FramePackModel, step: int) -> None:
        assert settle is not None
        settle(save_checkpoint(model, folder, step, key))

    fit(folder, config, key, materials, reporter, take if settle else None)
