"""The book's machinery: what renders its pages and what tests their snippets. It imports the package, never the reverse."""
