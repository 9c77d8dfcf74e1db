"""The Studio: the training session of the page, and the commands that serve and run the page."""
