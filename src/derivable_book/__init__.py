"""The book's machinery: what renders its pages and tests their snippets. The package never imports it."""
