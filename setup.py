"""Footfall: from a log of what users do to a served model."""

import setuptools

_PACKAGES = ("components", "pipeline", "schemas", "serving", "trainer")

setuptools.setup(
    name="footfall",
    version="0.1.0",
    description="A production training stack for models of user behaviour, on TensorFlow and TFX",
    long_description=open("README.md", encoding="utf-8").read(),
    long_description_content_type="text/markdown",
    python_requires=">=3.10,<3.14",
    packages=[
        package
        for root in _PACKAGES
        for package in (root, *(f"{root}.{name}" for name in setuptools.find_packages(root)))
    ],
    license="Apache-2.0",
    license_files=["LICENSE"],
    keywords=[
        "recommender systems",
        "sequential recommendation",
        "conversion rate",
        "user behaviour",
        "tensorflow",
        "tfx",
    ],
    classifiers=[
        "Development Status :: 4 - Beta",
        "Intended Audience :: Developers",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3 :: Only",
        "Programming Language :: Python :: 3.10",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Typing :: Typed",
    ],
    package_data={
        "components": ["py.typed"],
        "trainer": ["py.typed"],
        "pipeline": [
            "py.typed",
            "comparing/*_template.html",
            "reporting/*_template.html",
            "reporting/report_style.css",
            "reporting/report_tabs.js",
            "experiments/*.yaml",
        ],
        "schemas": ["py.typed", "*.pbtxt"],
        "serving": ["py.typed", "deploy/*.*", "deploy/kubernetes/*/*"],
    },
    # Ranges; what is tested is locked in requirements/.
    install_requires=[
        # The embedded server's HTTP.
        "aiohttp>=3.14",
        "apache-beam>=2.60",
        # tensorflow-transform imports it, and newer Beam no longer brings it.
        "dill",
        "grpcio-health-checking",
        "jinja2>=3",
        "keras-tuner>=1.4",
        "pandas",
        "pyarrow>=10",
        "pydantic>=2.10",
        "PyYAML",
        "rich",
        # The map of users in a report.
        "scikit-learn>=1.5",
        # What a TensorFlow without it cannot do: write summaries.
        "tensorboard",
        "tensorflow>=2.16,<2.22",
        "tensorflow-recommenders>=0.7.3",
        "tensorflow-serving-api>=2.16",
        "tf-keras>=2.16,<2.22",
        "tfx>=1.16,<1.22",
        # So that the map does not depend on how many cores there are.
        "threadpoolctl",
        # Names of time zones (log.timezone), which slim images lack.
        "tzdata",
    ],
    extras_require={"kubeflow": ["kfp>=2"], "test": ["kfp>=2", "pytest", "pytest-xdist"]},
    entry_points={"console_scripts": ["footfall=pipeline.cli:main"]},
)
