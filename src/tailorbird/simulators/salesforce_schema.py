"""What the objects of a simulated organisation have: fields with their types, what is required, and what nobody may write.

Source: Object Reference, "Contact", "Lead", "Account", "Task", "Event", "Campaign", "CampaignMember", "User", "Organization".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

__all__ = ["CUSTOM", "OBJECTS", "PARENTS", "Field", "Kind", "kinds"]

_SYSTEM: Final = (
    "Id:id:r IsDeleted:boolean:r CreatedDate:datetime:r CreatedById:reference:r "
    "LastModifiedDate:datetime:r SystemModstamp:datetime:r"
)
_OPT_OUT: Final = "HasOptedOutOfEmail:boolean HasOptedOutOfFax:boolean DoNotCall:boolean"

OBJECTS: Final[Mapping[str, tuple[str, str]]] = {
    "Contact": ("003", f"""AccountId:reference LastName:string:n FirstName:string Salutation:picklist Name:string:r MailingStreet:textarea
        MailingCity:string MailingState:string MailingPostalCode:string MailingCountry:string MailingAddress:address:r Phone:phone
        MobilePhone:phone HomePhone:phone OtherPhone:phone Email:email Title:string Department:string LeadSource:picklist
        Birthdate:date Description:textarea OwnerId:reference {_OPT_OUT} LastActivityDate:date:r EmailBouncedReason:string
        EmailBouncedDate:datetime IsEmailBounced:boolean:r"""),
    "Lead": ("00Q", f"""LastName:string:n FirstName:string Salutation:picklist Name:string:r Title:string Company:string:n Street:textarea
        City:string State:string PostalCode:string Country:string Address:address:r Phone:phone MobilePhone:phone Email:email
        Website:url Description:textarea LeadSource:picklist Status:picklist Industry:picklist Rating:picklist AnnualRevenue:currency
        NumberOfEmployees:int OwnerId:reference {_OPT_OUT} IsConverted:boolean:r ConvertedContactId:reference:r
        LastActivityDate:date:r EmailBouncedReason:string EmailBouncedDate:datetime"""),
    "Account": ("001", "Name:string:n Type:picklist BillingCity:string BillingCountry:string Phone:phone Website:url Industry:picklist "
        "NumberOfEmployees:int Description:textarea OwnerId:reference"),
    "Task": ("00T", """WhoId:reference WhatId:reference Subject:string ActivityDate:date Status:picklist Priority:picklist
        OwnerId:reference Description:textarea CallDurationInSeconds:int CallType:picklist CallDisposition:string CallObject:string
        TaskSubtype:picklist IsClosed:boolean:r"""),
    "Event": ("00U", """WhoId:reference WhatId:reference Subject:string Location:string ActivityDate:date DurationInMinutes:int
        StartDateTime:datetime EndDateTime:datetime Description:textarea OwnerId:reference EventSubtype:picklist"""),
    "Campaign": ("701", "Name:string:n Type:picklist Status:picklist StartDate:date EndDate:date IsActive:boolean Description:textarea "
        "OwnerId:reference"),
    "CampaignMember": ("00v", "CampaignId:reference:n ContactId:reference LeadId:reference Status:picklist"),
    "User": ("005", "Username:string:n LastName:string:n FirstName:string Name:string:r Email:email:n IsActive:boolean"),
    "Organization": ("00D", "Name:string:r OrganizationType:picklist:r InstanceName:picklist:r IsSandbox:boolean:r"),
}  # fmt: skip
"""Objects: how their ids begin, and their fields as ``name:type:flags`` (r: read only, n: needed, x: external id, nobody else's)."""

CUSTOM: Final[Mapping[str, str]] = {
    "Contact": "Plan__c:picklist Services__c:multipicklist Tags__c:multipicklist Last_Service__c:date Customer_No__c:string:x",
    "Lead": "Plan__c:picklist Services__c:multipicklist Tags__c:multipicklist Last_Service__c:date Customer_No__c:string:x",
    "Task": "Tailorbird_Key__c:string:x",
    "Event": "Tailorbird_Key__c:string:x",
}
"""Fields of the organisation's own making."""

PARENTS: Final[Mapping[tuple[str, str], tuple[str, str]]] = {("Contact", "Account"): ("AccountId", "Account")}
"""Related records that a question may reach over: by which field, and of which object."""

_LENGTHS: Final = {
    "string": 255,
    "email": 80,
    "phone": 40,
    "textarea": 32_000,
    "picklist": 255,
    "url": 255,
    "multipicklist": 4_099,
}
_SOAP: Final = {
    "boolean": "xsd:boolean", "int": "xsd:int", "currency": "xsd:double", "date": "xsd:date", "datetime": "xsd:dateTime",
    "id": "tns:ID", "reference": "tns:ID",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Field:
    """A field of an object."""

    name: str
    type: str
    writable: bool
    needed: bool
    external: bool

    @property
    def length(self) -> int:
        """Return how many characters fit in; 0 where that means nothing."""
        return _LENGTHS.get(self.type, 0)

    @property
    def filterable(self) -> bool:
        """Return whether a question may ask by it: long texts cannot be asked by."""
        return self.type not in ("textarea", "address")

    def described(self) -> dict[str, Any]:
        """Return what ``describe`` tells of it."""
        return {
            "name": self.name, "label": self.name.removesuffix("__c").replace("_", " "), "type": self.type, "length": self.length,
            "createable": self.writable, "updateable": self.writable, "nillable": not self.needed, "custom": self.name.endswith("__c"),
            "externalId": self.external, "unique": self.external, "filterable": self.filterable, "sortable": self.filterable,
            "picklistValues": [], "referenceTo": [], "soapType": _SOAP.get(self.type, "xsd:string"),
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Kind:
    """An object: its name, how its ids begin, and its fields by name in small letters."""

    name: str
    prefix: str
    fields: Mapping[str, Field]


def kinds(hidden: frozenset[str] = frozenset()) -> dict[str, Kind]:
    """Return all objects by name in small letters; ``hidden`` names fields that are not shown (``Lead.DoNotCall``)."""
    found = {}
    for name, (prefix, told) in OBJECTS.items():
        fields = {}
        for item in f"{_SYSTEM} {told} {CUSTOM.get(name, '')}".split():
            own, type, flags = (*item.split(":"), "")[:3]
            if f"{name}.{own}" not in hidden:
                fields[own.lower()] = Field(own, type, "r" not in flags, "n" in flags, "x" in flags)
        found[name.lower()] = Kind(name, prefix, fields)
    return found
