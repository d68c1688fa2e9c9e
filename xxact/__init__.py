"""The open experiment suite of XxaCT-NN: material properties from powder XRD and composition."""

__version__ = "0.1.0"
