from tests.api.serving import office

__all__ = ["office"]
