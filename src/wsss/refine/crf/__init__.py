"""DenseCRF (Krähenbühl & Koltun, 2011) and the energy loss that shares its filter."""
