"""A small front in the form of RFC 9440: front_rfc9440.py LISTEN NESSSI HOSTCERT HOSTKEY FRONTCERT FRONTKEY CA"""

import base64
import socket
import ssl
import sys

listen, nesssi, host_cert, host_key, front_cert, front_key, ca = sys.argv[1:8]
address = lambda text: (text.rsplit(":", 1)[0], int(text.rsplit(":", 1)[1]))
server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
server.load_cert_chain(host_cert, host_key)
server.load_verify_locations(ca)
server.verify_mode = ssl.CERT_OPTIONAL
client = ssl.create_default_context(cafile=ca)
client.load_cert_chain(front_cert, front_key)


def serve(stream, caller):
    data = b""
    while b"\r\n\r\n" not in data:
        data += stream.recv(65536)
    head, _, body = data.partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    name = lambda line: line.split(b":", 1)[0].strip().lower()
    own = (b"client-cert", b"client-cert-chain", b"x-forwarded-for", b"connection")
    length = [int(line.split(b":", 1)[1]) for line in lines[1:] if name(line) == b"content-length"]
    while length and len(body) < length[0]:
        body += stream.recv(65536)
    kept = [lines[0]] + [line for line in lines[1:] if name(line) not in own]
    certificate = stream.getpeercert(binary_form=True)
    if certificate:
        kept.append(b"Client-Cert: :" + base64.b64encode(certificate) + b":")
    kept += [b"X-Forwarded-For: " + caller.encode(), b"Connection: close"]
    with socket.create_connection(address(nesssi)) as plain:
        with client.wrap_socket(plain, server_hostname="localhost") as up:
            up.sendall(b"\r\n".join(kept) + b"\r\n\r\n" + body)
            while answer := up.recv(65536):
                stream.sendall(answer)


with socket.create_server(address(listen)) as listener:
    while True:
        plain, (caller, _) = listener.accept()
        try:
            with server.wrap_socket(plain, server_side=True) as stream:
                serve(stream, caller)
        except OSError as error:
            print(error, file=sys.stderr)
