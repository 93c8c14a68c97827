"""``python -m fp_lab``: the command line."""

from fp_lab.cli import app

if __name__ == "__main__":
    app(prog_name="fp-lab")
