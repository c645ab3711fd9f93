"""ScienceWorld: the published simulator in one JVM per process, its official splits, gold paths as demonstrations."""
