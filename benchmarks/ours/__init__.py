"""Our programs, as users write them. They run in the page and natively alike."""
