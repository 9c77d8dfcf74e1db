"""The Studio: its training session in the page, and the programs that serve and drive the page."""
