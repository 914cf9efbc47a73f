"""DenseCRF (Krähenbühl & Koltun 2011), and the dense energy loss, which shares its filter."""
