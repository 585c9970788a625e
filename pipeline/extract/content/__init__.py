"""What of a page is its main content."""
