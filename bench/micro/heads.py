"""Heads and paths to parse."""

SMALL = b"GET / HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nUser-Agent: wrk/4.1.0\r\n\r\n"
BROWSER = (
    b"GET /static/app/main.css?v=20240101 HTTP/1.1\r\nHost: www.example.com\r\nConnection: keep-alive\r\n"
    b'sec-ch-ua: "Chromium";v="124", "Google Chrome";v="124", "Not-A.Brand";v="99"\r\nsec-ch-ua-mobile: ?0\r\n'
    b"User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/124.0.0.0 Safari/537.36"
    b"\r\nAccept: text/css,*/*;q=0.1\r\nSec-Fetch-Site: same-origin\r\nSec-Fetch-Mode: no-cors\r\nSec-Fetch-Dest: "
    b"style\r\nReferer: https://www.example.com/\r\nAccept-Encoding: gzip, deflate, br\r\nAccept-Language: en-GB,en;q="
    b"0.9\r\nCookie: session=0123456789abcdef0123456789abcdef; theme=dark\r\n\r\n"
)
MANY = b"GET / HTTP/1.1\r\nHost: a\r\n" + b"".join(b"X-Header-%02d: value %d\r\n" % (i, i) for i in range(31)) + b"\r\n"
SIXTY = (
    b"GET / HTTP/1.1\r\nHost: a\r\n" + b"".join(b"X-Header-%02d: value %d\r\n" % (i, i) for i in range(59)) + b"\r\n"
)
POST = (
    b"POST /v1/orders HTTP/1.1\r\nHost: orders\r\nContent-Type: application/json\r\nContent-Length: 123\r\n"
    b"Connection: keep-alive\r\nX-Request-Id: 5f0c7a52-6d7e-4a2e-9d26-1f2f3f4a5b6c\r\n\r\n"
)
ANSWER = (
    b"HTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\nDate: Tue, 01 Jan 2030 00:00:00 GMT\r\nContent-Type: text/"
    b"plain\r\nContent-Length: 12\r\nConnection: keep-alive\r\n\r\n"
)

HEADS = {
    "small": ("request", SMALL),
    "browser": ("request", BROWSER),
    "32 fields": ("request", MANY),
    "60 fields": ("request", SIXTY),
    "post": ("request", POST),
    "answer": ("response", ANSWER),
}
PATHS = {
    "plain": b"/static/app/main.css/0123456789/abcdef.html",
    "dots": b"/static/../app/./main.css",
    "escapes": b"/caf%c3%a9/%7Euser/a%20b",
}
