"""The tool and the schema of the LangChain scripts."""
from typing import Literal

import pydantic
from langchain_core.tools import tool


@tool
def get_weather(city: str) -> str:
    """The weather of a city."""
    return f"It is sunny in {city}."


class Weather(pydantic.BaseModel):
    """The weather of a city."""
    city: Literal["Paris", "London"]
    sunny: bool


def structured_output(chat, *methods):
    for method in methods:
        weather = chat.with_structured_output(Weather, method=method).invoke("It is sunny in Paris.")
        assert weather.city in ("Paris", "London") and isinstance(weather.sunny, bool), (method, weather)
