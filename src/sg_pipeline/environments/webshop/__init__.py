"""WebShop's text mode, in this process: official or generated products, Lucene's ranking, the four-part reward."""
