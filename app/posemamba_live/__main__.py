"""`python -m posemamba_live`."""

from posemamba_live.cli import main

if __name__ == "__main__":
    main()
