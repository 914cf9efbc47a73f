"""PASCAL VOC's folders."""
