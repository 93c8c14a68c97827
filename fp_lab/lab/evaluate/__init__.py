"""Evaluation of folders of videos (`fp-lab evaluate`): find, decode, score, compare, log."""
