"""HTML: escaped elements, numbers within a page, and the shell of pages that load nothing from elsewhere."""
