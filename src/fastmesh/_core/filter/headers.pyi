from fastmesh._core.filter.view import HeaderError as HeaderError
from fastmesh._core.filter.view import Headers as Headers
from fastmesh._core.filter.view import ViewClosed as ViewClosed
