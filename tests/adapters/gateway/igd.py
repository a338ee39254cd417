"""A router that speaks UPnP, on loopback: what it describes and answers can be twisted."""

import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from aiohttp import web

SERVICE = "urn:schemas-upnp-org:service:WANIPConnection:1"
DEVICE = """<?xml version="1.0"?>
<root xmlns="urn:schemas-upnp-org:device-1-0"><specVersion><major>1</major><minor>0</minor></specVersion>
<device><deviceType>urn:schemas-upnp-org:device:InternetGatewayDevice:1</deviceType>
<friendlyName>router</friendlyName><manufacturer>m</manufacturer><modelName>n</modelName><UDN>uuid:1</UDN>
<serviceList><service><serviceType>@SERVICE@</serviceType><serviceId>urn:upnp-org:serviceId:WANIPConn1</serviceId>
<SCPDURL>/scpd.xml</SCPDURL><controlURL>/control</controlURL><eventSubURL>/event</eventSubURL>
</service></serviceList></device></root>""".replace("@SERVICE@", SERVICE)
ACTIONS = {
    "GetExternalIPAddress": (("out", "ExternalIPAddress"),),
    "GetStatusInfo": (
        ("out", "ConnectionStatus"),
        ("out", "LastConnectionError"),
        ("out", "Uptime"),
    ),
    "AddPortMapping": tuple(
        ("in", name)
        for name in (
            "RemoteHost",
            "ExternalPort",
            "Protocol",
            "InternalPort",
            "InternalClient",
            "Enabled",
            "PortMappingDescription",
            "LeaseDuration",
        )
    ),
    "DeletePortMapping": (("in", "RemoteHost"), ("in", "ExternalPort"), ("in", "Protocol")),
}
TYPES = {
    "ExternalPort": "ui2",
    "InternalPort": "ui2",
    "Enabled": "boolean",
    "LeaseDuration": "ui4",
    "Uptime": "ui4",
}


def describe_service() -> str:
    actions = "".join(
        f"<action><name>{name}</name><argumentList>"
        + "".join(
            f"<argument><name>New{each}</name><direction>{way}</direction>"
            f"<relatedStateVariable>{each}</relatedStateVariable></argument>"
            for way, each in arguments
        )
        + "</argumentList></action>"
        for name, arguments in ACTIONS.items()
    )
    names = {each for arguments in ACTIONS.values() for _, each in arguments}
    variables = "".join(
        f'<stateVariable sendEvents="no"><name>{each}</name>'
        f"<dataType>{TYPES.get(each, 'string')}</dataType></stateVariable>"
        for each in sorted(names)
    )
    return (
        '<?xml version="1.0"?><scpd xmlns="urn:schemas-upnp-org:service-1-0">'
        f"<actionList>{actions}</actionList>"
        f"<serviceStateTable>{variables}</serviceStateTable></scpd>"
    )


class UpnpRouter:
    """The router.

    Attributes:
        mapped: External ports, with what was said of each.
        errors: Codes with which the next requests for a port are refused.
        address: Its address outside.
        twist: Makes another body of each one that it sends, by path.
    """

    def __init__(self) -> None:
        self.mapped: dict[int, dict[str, str]] = {}
        self.errors: list[int] = []
        self.address = "203.0.113.1"
        self.twist: Callable[[str, str], str] = lambda _, body: body
        self.location = ""
        self.redirect: str | None = None

    @asynccontextmanager
    async def running(self) -> AsyncIterator["UpnpRouter"]:
        application = web.Application()
        application.router.add_get("/{name}", self._describe)
        application.router.add_post("/control", self._control)
        runner = web.AppRunner(application)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.location = f"http://127.0.0.1:{runner.addresses[0][1]}/device.xml"
        try:
            yield self
        finally:
            await runner.cleanup()

    async def _describe(self, request: web.Request) -> web.Response:
        if self.redirect is not None:
            raise web.HTTPFound(self.redirect)
        body = DEVICE if request.path == "/device.xml" else describe_service()
        return web.Response(text=self.twist(request.path, body), content_type="text/xml")

    async def _control(self, request: web.Request) -> web.Response:
        body = await request.text()
        name = request.headers["SOAPAction"].strip('"').rpartition("#")[2]
        given = dict(re.findall(r"<(New\w+)>([^<]*)</New\w+>", body))
        error = self._carry_out(name, given)
        if error:
            fault = (
                "<s:Fault><faultcode>s:Client</faultcode><faultstring>UPnPError</faultstring><detail>"
                '<UPnPError xmlns="urn:schemas-upnp-org:control-1-0">'
                f"<errorCode>{error}</errorCode><errorDescription>no</errorDescription>"
                "</UPnPError></detail></s:Fault>"
            )
            return web.Response(text=self.twist("/control", _envelope(fault)), status=500)
        answers = {
            "GetExternalIPAddress": f"<NewExternalIPAddress>{self.address}</NewExternalIPAddress>",
            "GetStatusInfo": "<NewConnectionStatus>Connected</NewConnectionStatus>"
            "<NewLastConnectionError>ERROR_NONE</NewLastConnectionError><NewUptime>77</NewUptime>",
        }
        answer = f'<u:{name}Response xmlns:u="{SERVICE}">{answers.get(name, "")}</u:{name}Response>'
        return web.Response(text=self.twist("/control", _envelope(answer)))

    def _carry_out(self, name: str, given: dict[str, str]) -> int:
        if name == "AddPortMapping":
            if self.errors:
                return self.errors.pop(0)
            self.mapped[int(given["NewExternalPort"])] = given
        elif name == "DeletePortMapping":
            return 0 if self.mapped.pop(int(given["NewExternalPort"]), None) else 714
        return 0


def _envelope(body: str) -> str:
    return (
        '<?xml version="1.0"?><s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/" '
        's:encodingStyle="http://schemas.xmlsoap.org/soap/encoding/">'
        f"<s:Body>{body}</s:Body></s:Envelope>"
    )
