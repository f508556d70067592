"""``python -m tezzeret_cli`` is ``tezzeret``."""

from tezzeret_cli.cli.main import main

if __name__ == "__main__":
    main()
