from tests.deployments import deployment

__all__ = ["deployment"]
