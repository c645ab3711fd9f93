"""Configuration: every typed section, the tree that checks them, the layers of conf/."""
