"""The simulated city: plants, devices, faults with known truth, people and a clock, all from one seed.

`City` is the whole of it as values; `pour` and `live` make it speak to a running product; `write_day` makes a file of it.
"""

from offsite.city.clock import SharedClock
from offsite.city.days import write_day
from offsite.city.live import live
from offsite.city.model import City
from offsite.city.people import People
from offsite.city.pour import Progress, pour
from offsite.city.run import CitySettings, run_city

__all__ = ["City", "CitySettings", "People", "Progress", "SharedClock", "live", "pour", "run_city", "write_day"]
