"""WebShop's text mode: search, pages, reward and goals as the original's, official data, generated catalogues."""
