"""`python -m ailab_bot` is `ailab`."""

from ailab_bot.cli import main

raise SystemExit(main())
